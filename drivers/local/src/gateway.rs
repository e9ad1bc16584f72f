//! The gateway that the system's default route names.

use core::net::Ipv4Addr;

/// The gateway of the default IPv4 route, if there is one.
///
/// Linux is asked through its table of routes. A library that asks by netlink takes longer to build than this package.
#[cfg(target_os = "linux")]
pub(crate) fn default_gateway() -> Option<Ipv4Addr> {
    in_table(&std::fs::read_to_string("/proc/net/route").ok()?)
}

/// The gateway of the default IPv4 route, if there is one.
#[cfg(not(target_os = "linux"))]
pub(crate) fn default_gateway() -> Option<Ipv4Addr> {
    let gateway = netdev::interface::get_default_interface().ok()?.gateway?;
    gateway.ipv4.first().copied()
}

/// The gateway in a table of routes as Linux writes it: of the default routes that are up, the one of the least metric.
#[cfg(any(target_os = "linux", test))]
fn in_table(table: &str) -> Option<Ipv4Addr> {
    const UP_BY_GATEWAY: u32 = 0x3;
    let read = |line: &str| {
        let mut fields = line.split_ascii_whitespace().skip(1);
        let mut hex = || u32::from_str_radix(fields.next()?, 16).ok();
        let (destination, gateway, flags) = (hex()?, hex()?, hex()?);
        let metric: u32 = fields.nth(2)?.parse().ok()?;
        let mask = u32::from_str_radix(fields.next()?, 16).ok()?;
        let is_default = destination == 0 && mask == 0 && flags & UP_BY_GATEWAY == UP_BY_GATEWAY;
        // The kernel writes the four bytes of the address as a number of this machine.
        is_default.then(|| (metric, Ipv4Addr::from(gateway.to_ne_bytes())))
    };
    let mut routes: Vec<_> = table.lines().filter_map(read).collect();
    routes.sort_by_key(|(metric, _)| *metric);
    routes.first().map(|(_, gateway)| *gateway)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n";

    fn row(destination: u32, gateway: [u8; 4], flags: u16, metric: u32, mask: u32) -> String {
        let gateway = u32::from_ne_bytes(gateway);
        format!("eth0\t{destination:08X}\t{gateway:08X}\t{flags:04X}\t0\t0\t{metric}\t{mask:08X}\t0\t0\t0  \n")
    }

    #[test]
    fn the_default_route_of_the_least_metric_names_the_gateway() {
        let network = row(0x004d_a8c0, [0; 4], 1, 0, 0x00ff_ffff);
        let down = row(0, [192, 168, 77, 3], 2, 0, 0);
        let (far, near) = (row(0, [10, 0, 0, 1], 3, 600, 0), row(0, [192, 168, 77, 1], 3, 100, 0));
        let table = [HEAD, &network, &down, &far, &near].concat();
        assert_eq!(in_table(&table), Some(Ipv4Addr::new(192, 168, 77, 1)));
        assert_eq!(in_table(&[HEAD, &network, &down].concat()), None);
    }

    #[test]
    fn what_is_no_table_names_no_gateway() {
        for text in ["", HEAD, "eth0", "eth0 0 0", "eth0\tx\ty\tz\n"] {
            assert_eq!(in_table(text), None, "{text:?}");
        }
    }
}
