//! Every limit of a configuration holds on both sides.

use alloc::boxed::Box;
use core::time::Duration;

use super::{EndpointConfig, SessionConfig};

const SECOND: Duration = Duration::from_secs(1);
const TOO_SHORT: Duration = Duration::from_micros(999_999);

type Edit<C> = Box<dyn FnOnce(&mut C)>;

/// Sets a field to a value that is allowed, and to one just outside its range.
fn field<C: 'static, V: 'static>(set: fn(&mut C, V), allowed: V, refused: V) -> [Edit<C>; 2] {
    [Box::new(move |config| set(config, allowed)), Box::new(move |config| set(config, refused))]
}

#[test]
fn the_limits_of_a_session_are_checked_field_by_field() {
    type C = SessionConfig;
    let cases = [
        ("keepalive", field(|config: &mut C, value| config.keepalive = value, SECOND, TOO_SHORT)),
        ("retransmit_limit", field(|config, value| config.retransmit_limit = value, SECOND, TOO_SHORT)),
        ("idle_limit", field(|config, value| config.idle_limit = value, SECOND, TOO_SHORT)),
        ("unread_limit", field(|config, value| config.unread_limit = value, SECOND, TOO_SHORT)),
        ("gap_limit", field(|config, value| config.gap_limit = value, SECOND, TOO_SHORT)),
        ("stall_limit", field(|config, value| config.stall_limit = value, Some(SECOND), Some(TOO_SHORT))),
        ("base_datagram", field(|config, value| config.base_datagram = value, 576, 575)),
        ("base_datagram", field(|config, value| config.base_datagram = value, 65_507, 65_508)),
        ("max_datagram", field(|config, value| config.max_datagram = value, 65_507, 65_508)),
        ("max_send_flows", field(|config, value| config.max_send_flows = value, 1, 0)),
        ("max_send_flows", field(|config, value| config.max_send_flows = value, 1 << 20, (1 << 20) + 1)),
        ("max_recv_flows", field(|config, value| config.max_recv_flows = value, 1 << 20, (1 << 20) + 1)),
        ("max_recv_bytes", field(|config, value| config.max_recv_bytes = value, 65_536, 65_535)),
        ("max_rate", field(|config, value| config.max_rate = value, Some(1_200), Some(1_199))),
        ("max_ack_expansion", field(|config, value| config.max_ack_expansion = value, 1, 0)),
    ];
    for (name, [allow, refuse]) in cases {
        let (mut allowed, mut refused) = (C::default(), C::default());
        allow(&mut allowed);
        assert_eq!(allowed.validate().map_err(|error| error.field), Ok(()), "{name}");
        refuse(&mut refused);
        assert_eq!(refused.validate().map_err(|error| error.field), Err(name));
        let endpoint = EndpointConfig { session: refused, ..EndpointConfig::default() };
        assert_eq!(
            endpoint.validate().map_err(|error| error.field),
            Err(name),
            "those of its sessions are an endpoint's"
        );
    }
    assert!(C { stall_limit: None, ..C::default() }.validate().is_ok());
}

#[test]
fn the_limits_of_an_endpoint_are_checked_field_by_field() {
    type C = EndpointConfig;
    let cases = [
        ("max_sessions", field(|config: &mut C, value| config.max_sessions = value, 1, 0)),
        ("max_sessions", field(|config, value| config.max_sessions = value, 1 << 24, (1 << 24) + 1)),
        ("max_opening", field(|config, value| config.max_opening = value, 1, 0)),
        ("max_sessions_per_address", field(|config, value| config.max_sessions_per_address = value, 1, 0)),
        ("max_candidates", field(|config, value| config.max_candidates = value, 1, 0)),
        ("max_candidates", field(|config, value| config.max_candidates = value, 24, 25)),
        ("open_timeout", field(|config, value| config.open_timeout = value, SECOND, TOO_SHORT)),
        ("max_recv_memory", field(|config, value| config.max_recv_memory = value, 1 << 20, (1 << 20) - 1)),
        ("max_send_memory", field(|config, value| config.max_send_memory = value, 1 << 20, (1 << 20) - 1)),
        ("scarce_stall_limit", field(|config, value| config.scarce_stall_limit = value, SECOND, TOO_SHORT)),
    ];
    for (name, [allow, refuse]) in cases {
        let (mut allowed, mut refused) = (C::default(), C::default());
        allow(&mut allowed);
        assert_eq!(allowed.validate().map_err(|error| error.field), Ok(()), "{name}");
        refuse(&mut refused);
        assert_eq!(refused.validate().map_err(|error| error.field), Err(name));
    }
}
