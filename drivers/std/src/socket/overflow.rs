//! How many datagrams a socket has lost as they arrived (Linux).

use crate::socket::Socket;

impl Socket {
    /// Datagrams that the system dropped as they arrived since the socket was made, mostly because its receive buffer was
    /// full. Those with a bad checksum count too, and those that a filter of the socket refused.
    ///
    /// `None` if the system does not tell. This is read from `/proc/net/udp` and `udp6` of Linux, line by line: it is not
    /// for every second.
    #[must_use]
    pub fn overflows(&self) -> Option<u64> {
        #[cfg(any(target_os = "linux", target_os = "android"))]
        {
            use std::os::fd::AsRawFd as _;
            use std::os::unix::fs::MetadataExt as _;
            let inode = std::fs::metadata(format!("/proc/thread-self/fd/{}", self.socket.as_raw_fd())).ok()?.ino();
            let table =
                if self.local_addr().is_ipv4() { "/proc/thread-self/net/udp" } else { "/proc/thread-self/net/udp6" };
            drops(&std::fs::read_to_string(table).ok()?, inode)
        }
        #[cfg(not(any(target_os = "linux", target_os = "android")))]
        None
    }
}

/// The last field of the line of a socket. The inode is the tenth.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn drops(table: &str, inode: u64) -> Option<u64> {
    let inode = inode.to_string();
    let line = table.lines().skip(1).find(|line| line.split_ascii_whitespace().nth(9) == Some(&inode))?;
    line.split_ascii_whitespace().nth(12)?.parse().ok()
}

#[cfg(any(target_os = "linux", target_os = "android"))]
#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use super::*;

    #[test]
    fn what_a_full_receive_buffer_costs_is_counted() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let socket = Socket::bind(address.parse().unwrap()).unwrap();
            let other = Socket::bind(address.parse().unwrap()).unwrap();
            assert_eq!(socket.overflows(), Some(0));
            let sender = UdpSocket::bind(address).unwrap();
            // Each takes up more of the buffer than its bytes.
            for _ in 0..2 * socket.recv_buffer().max(Socket::BUFFER_BYTES) / 1_000 {
                sender.send_to(&[0; 1_000], socket.local_addr()).unwrap();
            }
            assert!(socket.overflows().unwrap() > 0);
            assert_eq!(other.overflows(), Some(0));
        }
    }
}
