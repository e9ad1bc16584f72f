//! The socket buffers that the system has granted, and what to do if that limits this end.

use rtmfp_std::{Pump, Socket};

/// Of the sockets of an endpoint, the least that each has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Buffers {
    /// Bytes for what is received, of [`Socket::BUFFER_BYTES`] that were asked for.
    pub receive: usize,
    /// Bytes for what is sent, likewise.
    pub send: usize,
    /// Datagrams that the system dropped as they arrived, mostly because the buffer was full. 0 if it does not tell.
    pub overflows: u64,
}

impl Buffers {
    /// Those of a pump.
    #[must_use]
    pub fn of(pump: &Pump) -> Self {
        let stats = pump.stats();
        let overflows = pump.sockets().filter_map(|(_, socket)| socket.overflows()).sum();
        Self { receive: stats.recv_buffer, send: stats.send_buffer, overflows }
    }

    /// What there is.
    #[must_use]
    pub fn granted(&self) -> String {
        let full = match self.overflows {
            0 => String::new(),
            overflows => {
                format!("; {overflows} datagrams were dropped by the system, mostly because the first was full")
            }
        };
        format!("socket buffers: {} KiB to receive, {} KiB to send{full}", self.receive / 1_024, self.send / 1_024)
    }

    /// How to get what was asked for. `None` if that is what there is, or the system does not tell.
    #[must_use]
    pub fn advice(&self) -> Option<String> {
        let is_less = |granted: usize| granted > 0 && granted < Socket::BUFFER_BYTES;
        let limits = [(self.receive, "rmem_max"), (self.send, "wmem_max")];
        let settings = limits.iter().filter(|(granted, _)| is_less(*granted));
        let settings: Vec<String> =
            settings.map(|(_, name)| format!("net.core.{name}={}", Socket::BUFFER_BYTES)).collect();
        let how = match settings.as_slice() {
            [] => return None,
            settings if cfg!(any(target_os = "linux", target_os = "android")) => {
                format!("`sysctl -w {}` before this program starts", settings.join(" "))
            }
            _ => "a setting of this system may allow more".to_owned(),
        };
        Some(format!("{} KiB were asked for, and a fast path needs them: {how}", Socket::BUFFER_BYTES / 1_024))
    }

    /// What the user should hear of unasked: datagrams were lost here for want of a buffer that the system could grant.
    #[must_use]
    pub fn warning(&self) -> Option<String> {
        let advice = self.advice().filter(|_| self.overflows > 0 && self.receive < Socket::BUFFER_BYTES)?;
        let granted = self.receive / 1_024;
        Some(format!(
            "{} datagrams were dropped by the system, mostly because the socket buffer of {granted} KiB was full. {advice}",
            self.overflows
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: usize = Socket::BUFFER_BYTES;

    #[test]
    fn small_socket_buffers_are_told_of_with_what_to_do() {
        let some = Buffers { receive: 212_992, send: ALL, overflows: 0 };
        assert_eq!(some.granted(), "socket buffers: 208 KiB to receive, 4096 KiB to send");
        let advice = some.advice().unwrap_or_default();
        assert!(advice.starts_with("4096 KiB were asked for"), "{advice}");
        #[cfg(target_os = "linux")]
        assert!(advice.contains("`sysctl -w net.core.rmem_max=4194304`"), "{advice}");
        #[cfg(target_os = "linux")]
        assert!(Buffers { send: 1, ..some }.advice().unwrap_or_default().contains("net.core.wmem_max=4194304`"));
        // What is granted, or not known, needs none.
        assert_eq!(Buffers { receive: ALL, ..some }.advice(), None);
        assert_eq!(Buffers { receive: 0, send: 0, ..some }.advice(), None);
    }

    #[test]
    fn a_warning_is_given_only_if_a_small_buffer_has_lost_datagrams() {
        let some = Buffers { receive: 212_992, send: ALL, overflows: 7 };
        let warning = some.warning().unwrap_or_default();
        let told = "7 datagrams were dropped by the system, mostly because the socket buffer of 208 KiB was full. ";
        assert!(warning.starts_with(told), "{warning}");
        assert!(
            some.granted().ends_with("; 7 datagrams were dropped by the system, mostly because the first was full")
        );
        for none in [
            Buffers { overflows: 0, ..some },
            Buffers { receive: ALL, ..some },
            Buffers { receive: ALL, send: 1, ..some },
        ] {
            assert_eq!(none.warning(), None);
        }
    }
}
