//! The system's list of addresses (rtnetlink(7)).

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::io;

use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socket_with};

// Of linux/netlink.h, linux/rtnetlink.h and linux/if_addr.h.
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const RTM_NEWADDR: u16 = 20;
const RTM_GETADDR: u16 = 22;
const NLM_F_REQUEST: u16 = 0x1;
const NLM_F_DUMP: u16 = 0x300;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_FLAGS: u16 = 8;
const IFA_F_OPTIMISTIC: u32 = 0x04;
const IFA_F_DADFAILED: u32 = 0x08;
const IFA_F_TENTATIVE: u32 = 0x40;

/// Bytes of a message's header, and of what precedes the attributes of an address.
const HEADER: usize = 16;
const IFADDRMSG: usize = 8;
/// The system tells so much at once, at most.
const BUFFER: usize = 32 << 10;
/// Addresses that are looked at: far more than a machine has.
const MAX_ADDRESSES: usize = 16_384;

/// An address of this machine.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Address {
    pub(super) ip: IpAddr,
    /// The index of its link.
    pub(super) link: u32,
    /// Another host may have it too: the system asks still, or has found one.
    pub(super) usable: bool,
}

/// All addresses of both families.
///
/// # Errors
/// As the system tells, and `InvalidData` for what is not to be understood.
pub(super) fn addresses() -> io::Result<Vec<Address>> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, None)?;
    send(&socket, &request(), SendFlags::empty())?;
    let (mut found, mut buffer) = (Vec::new(), vec![0; BUFFER]);
    loop {
        // The system has the next part ready at once.
        match recv(&socket, &mut *buffer, RecvFlags::empty()) {
            Ok((len, _)) => {
                if read_all(buffer.get(..len).unwrap_or_default(), &mut found)? || found.len() >= MAX_ADDRESSES {
                    return Ok(found);
                }
            }
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// A request for all addresses, of no family in particular.
fn request() -> [u8; HEADER + IFADDRMSG] {
    let mut bytes = [0; HEADER + IFADDRMSG];
    let length = u32::try_from(bytes.len()).unwrap_or(0).to_ne_bytes();
    let (kind, flags) = (RTM_GETADDR.to_ne_bytes(), (NLM_F_REQUEST | NLM_F_DUMP).to_ne_bytes());
    for (byte, value) in bytes.iter_mut().zip(length.into_iter().chain(kind).chain(flags)) {
        *byte = value;
    }
    bytes
}

fn read_u16(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn read_u32(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

/// Splits what begins with its own length off, and skips what fills it up to a multiple of four.
fn split(bytes: &[u8], length: usize, header: usize) -> Option<(&[u8], &[u8])> {
    let inner = bytes.get(header..length)?;
    Some((inner, bytes.get(length.next_multiple_of(4)..).unwrap_or_default()))
}

/// Reads messages. True: the last has come.
fn read_all(mut bytes: &[u8], found: &mut Vec<Address>) -> io::Result<bool> {
    while !bytes.is_empty() {
        let header = read_u32(bytes, 0).zip(read_u16(bytes, 4));
        let (length, kind) = header.ok_or(io::ErrorKind::InvalidData)?;
        let length = usize::try_from(length).map_err(|_| io::ErrorKind::InvalidData)?;
        let (message, rest) = split(bytes, length, HEADER).ok_or(io::ErrorKind::InvalidData)?;
        match kind {
            NLMSG_DONE => return Ok(true),
            NLMSG_ERROR => return Err(io::ErrorKind::Unsupported.into()),
            RTM_NEWADDR => found.extend(read_address(message)),
            _ => {}
        }
        bytes = rest;
    }
    Ok(false)
}

/// Reads what a message tells of an address. None: it is of another family.
fn read_address(message: &[u8]) -> Option<Address> {
    let (mut flags, link) = (u32::from(*message.get(2)?), read_u32(message, 4)?);
    let (mut address, mut local) = (None, None);
    let mut attributes = message.get(IFADDRMSG..)?;
    while let (Some(length), Some(kind)) = (read_u16(attributes, 0), read_u16(attributes, 2)) {
        let (value, rest) = split(attributes, usize::from(length), 4)?;
        match kind {
            IFA_ADDRESS => address = read_ip(value),
            // Of a line between two, where the other is the far end's.
            IFA_LOCAL => local = read_ip(value),
            IFA_FLAGS => flags = read_u32(value, 0)?,
            _ => {}
        }
        attributes = rest;
    }
    let tentative = flags & IFA_F_TENTATIVE != 0 && flags & IFA_F_OPTIMISTIC == 0;
    Some(Address { ip: local.or(address)?, link, usable: !tentative && flags & IFA_F_DADFAILED == 0 })
}

fn read_ip(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(bytes).map(|bytes| Ipv4Addr::from(bytes).into());
    v4.or_else(|_| <[u8; 16]>::try_from(bytes).map(|bytes| Ipv6Addr::from(bytes).into())).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
        let length = u16::try_from(4 + value.len()).unwrap();
        [&length.to_ne_bytes(), &kind.to_ne_bytes(), value].concat()
    }

    fn message(kind: u16, body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(HEADER + body.len()).unwrap();
        [&length.to_ne_bytes()[..], &kind.to_ne_bytes(), &[0; 10], body].concat()
    }

    fn address(flags: u8, attributes: &[Vec<u8>]) -> Vec<u8> {
        message(RTM_NEWADDR, &[&[2, 24, flags, 0][..], &7_u32.to_ne_bytes(), &attributes.concat()].concat())
    }

    #[test]
    fn both_families_ends_of_a_line_and_addresses_that_are_not_to_be_used_yet_are_read() {
        let [v4, far, v6] = [&[10, 0, 0, 1][..], &[10, 0, 0, 2], &[9; 16]];
        let checked = [attribute(IFA_ADDRESS, v6), attribute(IFA_FLAGS, &IFA_F_TENTATIVE.to_ne_bytes())];
        let optimistic = IFA_F_TENTATIVE | IFA_F_OPTIMISTIC;
        let optimistic = [attribute(IFA_ADDRESS, v6), attribute(IFA_FLAGS, &optimistic.to_ne_bytes())];
        let bytes = [
            address(0, &[attribute(IFA_ADDRESS, far), attribute(IFA_LOCAL, v4), attribute(3, b"wire0\0\0\0")]),
            message(1, &[]),
            address(0, &checked),
            address(0, &optimistic),
            address(u8::try_from(IFA_F_DADFAILED).unwrap(), &[attribute(IFA_ADDRESS, v6)]),
        ];
        let mut found = Vec::new();
        assert!(!read_all(&bytes.concat(), &mut found).unwrap());
        let [v4, v6] = [v4, v6].map(|bytes| read_ip(bytes).unwrap());
        let expected = [(v4, true), (v6, false), (v6, true), (v6, false)];
        assert_eq!(found, expected.map(|(ip, usable)| Address { ip, link: 7, usable }));
        assert!(read_all(&message(NLMSG_DONE, &[0; 4]), &mut found).unwrap());
    }

    #[test]
    fn what_is_cut_off_anywhere_is_refused_or_left_out() {
        let whole = address(0, &[attribute(IFA_ADDRESS, &[10, 0, 0, 1])]);
        for length in 1..whole.len() {
            let mut found = Vec::new();
            assert!(read_all(&whole[..length], &mut found).is_err());
            // A message that says itself that it is short.
            let mut short = whole[..length].to_vec();
            if length >= HEADER {
                short[..4].copy_from_slice(&u32::try_from(length).unwrap().to_ne_bytes());
                assert!(!read_all(&short, &mut found).unwrap());
            }
            assert!(found.is_empty());
        }
        assert!(read_all(&message(NLMSG_ERROR, &[0; 4]), &mut Vec::new()).is_err());
        assert!(read_all(&[0; HEADER], &mut Vec::new()).is_err(), "a length of nothing would never end");
    }
}
