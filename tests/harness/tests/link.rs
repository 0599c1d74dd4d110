//! The benchmark's link: plain tools measure what a scenario asks for, and an outage is one.

use kiosk_harness::{
    Error,
    link::{
        check::PathCheck,
        emulator::Emulator,
        scenario::{Change, Scenario},
    },
    world::{Host, scenario},
};

#[test]
fn ping_and_a_plain_transfer_find_the_link_that_was_asked_for() {
    scenario(|world| {
        // Every kernel lets namespaces use "reno".
        let asked = Scenario::find("steady10").ok_or_else(|| Error::Other("no such scenario".into()))?;
        let emulator = Emulator::start(world, asked, "net.ipv4.tcp_congestion_control=reno")?;
        // A machine that is busy with other things can hold up an emulator in user space: that shows in one run, and hardly
        // in three.
        let check = || PathCheck::run(world, &emulator, asked);
        println!("{:?}", check().or_else(|_| check()).or_else(|_| check())?);
        let addresses = world.run(Host::Server, "ip", &["-oneline", "address", "show", "scope", "link"])?;
        assert!(!addresses.contains("fe80") || addresses.lines().all(|line| line.contains("eth0")), "{addresses}");
        emulator.change(Change::Down);
        let server = Host::Server.address().to_string();
        assert!(world.run(Host::Kiosk, "ping", &["-c", "3", "-i", "0.1", "-W", "1", &server]).is_err());
        emulator.change(Change::Up);
        world.run(Host::Kiosk, "ping", &["-c", "1", "-W", "2", &server])?;
        println!("{:?}", emulator.counters()?);
        Ok(())
    });
}
