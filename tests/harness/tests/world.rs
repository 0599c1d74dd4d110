//! The harness is only worth something if its checks can fail: each of them is shown to see what it must see.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use kiosk_harness::{
    Result,
    capture::Capture,
    wait::until,
    world::{Host, World, scenario},
};
use std::{fs, time::Duration};

/// Drops all UDP that the host sends, counted.
const NO_UDP_OUT: &str = "table inet t {
    counter udp_out {}
    chain output { type filter hook output priority 0; policy accept; meta l4proto udp counter name udp_out drop; }
}";

/// Sends one datagram to the server; the shell's error, when the packet filter refuses it, is not looked at.
fn send_datagram(world: &World, from: Host) -> Result<()> {
    let script = format!("echo hello > /dev/udp/{}/9000 || true", Host::Server.address());
    world.run(from, "bash", &["-c", &script]).map(drop)
}

#[test]
fn udp_that_is_allowed_is_captured() {
    scenario(|world| {
        let capture = Capture::start(world, Host::Kiosk)?;
        send_datagram(world, Host::Kiosk)?;
        let packets = capture.stop()?.udp()?;
        assert_eq!(packets.len(), 1, "{packets:?}");
        assert!(packets[0].contains("10.77.2.2") && packets[0].contains("10.77.1.2.9000"), "{packets:?}");
        Ok(())
    });
}

#[test]
fn udp_that_the_firewall_drops_is_counted_and_does_not_reach_the_cable() {
    scenario(|world| {
        world.nft(Host::Kiosk, NO_UDP_OUT)?;
        assert_eq!(world.counter(Host::Kiosk, "udp_out")?.packets, 0);
        let capture = Capture::start(world, Host::Kiosk)?;
        send_datagram(world, Host::Kiosk)?;
        assert_eq!(world.counter(Host::Kiosk, "udp_out")?.packets, 1);
        let packets = capture.stop()?.udp()?;
        assert!(packets.is_empty(), "{packets:?}");
        Ok(())
    });
}

/// Programs that look for addresses leave out an interface that does not carry.
#[test]
fn cables_carry_as_soon_as_the_world_is_there() {
    // Another network that has just ended makes the kernel slow to say so.
    for _ in 0..5 {
        scenario(|world| {
            for host in Host::CABLED {
                let links = world.run(host, "ip", &["-oneline", "link", "show", "up"])?;
                assert!(links.contains("eth0") && !links.contains("NO-CARRIER"), "{}: {links}", host.name());
            }
            Ok(())
        });
    }
}

#[test]
fn hosts_reach_each_other_until_a_cable_is_pulled() {
    scenario(|world| {
        let ping =
            |from: Host, to: Host| world.run(from, "ping", &["-c", "1", "-W", "1", &to.address().to_string()]).is_ok();
        assert!(Host::CABLED.iter().all(|host| *host == Host::Kiosk || ping(Host::Kiosk, *host)));
        world.cut(Host::Kiosk)?;
        assert!(!ping(Host::Kiosk, Host::Server));
        assert!(ping(Host::Agent, Host::Server));
        world.restore(Host::Kiosk)?;
        until(Duration::from_secs(20), "the cable", || Ok(ping(Host::Kiosk, Host::Server).then_some(())))
    });
}

#[test]
fn two_worlds_do_not_meet() {
    scenario(|one| {
        scenario(|other| {
            one.nft(Host::Server, NO_UDP_OUT)?;
            assert!(other.counter(Host::Server, "udp_out").is_err());
            Ok(())
        });
        Ok(())
    });
}

#[test]
fn a_dropped_program_and_a_dropped_world_leave_nothing_behind() {
    let mut pids = Vec::new();
    scenario(|world| {
        let place = world.at(Host::Kiosk)?;
        let script = "sleep 1000 & echo child $!; wait";
        let mut shell = place.spawn("shell", place.command("sh").args(["-c", script]))?;
        shell.wait_log("child", Duration::from_secs(20))?;
        let child: u32 = shell.log_text().trim().trim_start_matches("child ").parse().expect("a pid");
        pids.extend([shell.pid(), child]);
        Ok(())
    });
    for pid in pids {
        // A zombie that init has not reaped yet runs no more.
        let running = || fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "));
        until(Duration::from_secs(20), "a child's end", || Ok((!running()).then_some(()))).expect("no process is left");
    }
}
