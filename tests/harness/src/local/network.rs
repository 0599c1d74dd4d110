//! An address and free ports on this machine.
//!
//! Neither Janus nor a browser does media over the loopback interface: both skip it when they gather candidates. So the
//! demo takes the address of another interface; between programs of one machine the packets stay inside it all the same.

use crate::{Error, Result, process::run};
use nix::{ifaddrs::getifaddrs, net::if_::InterfaceFlags};
use std::{
    io,
    net::{Ipv4Addr, TcpListener},
    process::Command,
};

/// Name of the cable that is made where there is no other interface.
const CABLE: &str = "kiosk-demo";
/// Its address, from the range that is reserved for measurements (RFC 2544).
const CABLE_ADDRESS: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 1);

/// The address on which media flows; removes at its end what had to be made for it.
#[derive(Debug)]
pub struct Network {
    address: Ipv4Addr,
    made: bool,
}

impl Network {
    /// Takes the first IPv4 address of a running interface other than loopback. Where there is none, a pair of virtual
    /// interfaces is made, which needs root.
    pub fn find() -> Result<Self> {
        if let Some(address) = first_address()? {
            return Ok(Self { address, made: false });
        }
        let network = Self { address: CABLE_ADDRESS, made: true };
        let peer = format!("{CABLE}-peer");
        let address = format!("{CABLE_ADDRESS}/32");
        ip(&["link", "add", "name", CABLE, "type", "veth", "peer", "name", &peer])
            .and_then(|()| ip(&["address", "add", &address, "dev", CABLE]))
            .and_then(|()| ip(&["link", "set", CABLE, "up"]))
            .and_then(|()| ip(&["link", "set", &peer, "up"]))
            .map_err(|error| {
                Error::Other(format!(
                    "This machine has no network interface but loopback, over which neither Janus nor a browser does \
                     media, and a virtual one could not be made. Connect a network, or run this as root.\n{error}"
                ))
            })?;
        Ok(network)
    }

    /// The address.
    pub fn address(&self) -> Ipv4Addr {
        self.address
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        if self.made {
            let _ = ip(&["link", "delete", CABLE]);
        }
    }
}

fn ip(arguments: &[&str]) -> Result<()> {
    run(Command::new("ip").args(arguments)).map(drop)
}

fn first_address() -> Result<Option<Ipv4Addr>> {
    let interfaces = getifaddrs().map_err(|errno| Error::io("list network interfaces")(errno.into()))?;
    let wanted = InterfaceFlags::IFF_UP | InterfaceFlags::IFF_RUNNING;
    let usable = interfaces.filter(|interface| {
        interface.flags.contains(wanted) && !interface.flags.contains(InterfaceFlags::IFF_LOOPBACK)
    });
    Ok(usable.filter_map(|interface| Some(interface.address?.as_sockaddr_in()?.ip())).next())
}

/// Whether no program of this machine listens on a port.
fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).is_ok()
}

/// The wanted port, or another one if a program has it already.
pub fn free_port(wanted: u16) -> Result<u16> {
    if is_free(wanted) {
        return Ok(wanted);
    }
    let any = || -> io::Result<u16> { Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port()) };
    let port = any().map_err(Error::io("find a free TCP port"))?;
    eprintln!("Port {wanted} is taken by another program; using {port}.");
    Ok(port)
}

/// `count` ports that are free, from `first` or as near above it as there are.
pub fn free_range(first: u16, count: u16) -> Result<String> {
    let starts = (first..=u16::MAX - count).step_by(count.into()).take(50);
    for start in starts {
        let last = start + (count - 1);
        if let Some(taken) = (start..=last).find(|port| !is_free(*port)) {
            eprintln!("Port {taken} is taken by another program; not using {start}-{last} for media.");
        } else {
            return Ok(format!("{start}-{last}"));
        }
    }
    Err(Error::Other(format!("no {count} free TCP ports in a row above {first} on this machine")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_that_is_taken_is_not_given() {
        let holder = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
        let taken = holder.local_addr().unwrap().port();
        assert_ne!(free_port(taken).unwrap(), taken);
        let range = free_range(taken, 1).unwrap();
        assert_ne!(range, format!("{taken}-{taken}"));
    }
}
