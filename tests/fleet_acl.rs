//! The broker's access list: a kiosk's certificate opens its own topics and its groups', and nothing else.

use kiosk_harness::{
    Result,
    mosquitto::Mosquitto,
    world::{Host, World, scenario},
};
use std::time::Duration;

/// A broker that knows two kiosks, of which one is in the group `east`.
fn broker(world: &World) -> Result<Mosquitto> {
    let kiosks: [(&str, &[&str]); 2] = [("kiosk-1", &["east"]), ("kiosk-2", &[])];
    Mosquitto::start(&world.at(Host::Server)?, Host::Server.address(), &kiosks)
}

const SOON: Duration = Duration::from_secs(45);

#[test]
fn a_kiosk_reads_what_is_meant_for_it_and_writes_what_is_its_own() {
    scenario(|world| {
        let broker = broker(world)?;
        let (one, two, admin) = (world.at(Host::Kiosk)?, world.at(Host::Kiosk2)?, world.at(Host::Agent)?);
        let mut all = broker.subscribe(&admin, "all", &["bk/v1/#"])?;
        // What a kiosk writes about itself arrives; its own desired state, and all of another's, it can't write.
        for (topic, arrives) in [
            ("device/kiosk-1/reported", true),
            ("device/kiosk-1/event", true),
            ("device/kiosk-1/chunk/7", true),
            ("device/kiosk-1/desired", false),
            ("device/kiosk-1/command", false),
            ("device/kiosk-2/reported", false),
            ("device/kiosk-2/command", false),
            ("group/east/desired", false),
            ("history/device/kiosk-1/1", false),
        ] {
            let text = format!("by kiosk-1 to {topic}");
            broker.publish_as(&one, "kiosk-1", &format!("bk/v1/{topic}"), text.as_bytes(), &[])?;
            if arrives {
                all.wait(SOON, &text, |message| message.text() == text)?;
            }
        }
        let mut first = broker.subscribe_as(&one, "kiosk-1", "first", &["bk/v1/#"])?;
        let mut second = broker.subscribe_as(&two, "kiosk-2", "second", &["bk/v1/#"])?;
        for topic in [
            "group/east/desired",
            "group/west/desired",
            "history/device/kiosk-1/1",
            "device/kiosk-1/desired",
            "device/kiosk-1/command",
        ] {
            broker.publish(&admin, &format!("bk/v1/{topic}"), topic.as_bytes(), false)?;
        }
        first.wait(SOON, "the command", |message| message.text() == "device/kiosk-1/command")?;
        // Behind all that the other kiosk must not get.
        let marker = "bk/v1/device/kiosk-2/command";
        broker.publish(&admin, marker, b"a marker", false)?;
        second.wait(SOON, "the marker", |message| message.topic == marker)?;
        all.wait(SOON, "the marker", |message| message.topic == marker)?;
        let topics = |messages: Vec<kiosk_harness::mosquitto::Received>| {
            messages.into_iter().map(|message| message.topic).collect::<Vec<_>>()
        };
        assert_eq!(
            topics(first.messages()),
            ["bk/v1/group/east/desired", "bk/v1/device/kiosk-1/desired", "bk/v1/device/kiosk-1/command"]
        );
        assert_eq!(topics(second.messages()), [marker]);
        let forged: Vec<_> = all.messages().into_iter().filter(|message| message.text().starts_with("by")).collect();
        assert_eq!(forged.len(), 3, "{forged:?}");
        Ok(())
    });
}

#[test]
fn nobody_comes_in_without_a_certificate_of_the_authority() {
    scenario(|world| {
        let broker = broker(world)?;
        let place = world.at(Host::Kiosk)?;
        let dir = world.dir().join("others");
        std::fs::create_dir(&dir).map_err(kiosk_harness::Error::io("a folder"))?;
        let forged = kiosk_harness::tls::Authority::create(&dir)?.client("kiosk-1")?;
        let address = Host::Server.address().to_string();
        let ca = broker.ca().display().to_string();
        let publish = |more: &[&str]| {
            let mut arguments = vec!["10", "mosquitto_pub", "-h", &address, "-p", "8883", "--cafile", &ca];
            arguments.extend(["-i", "x", "-t", "bk/v1/device/kiosk-1/event", "-m", "x", "-q", "1"]);
            arguments.extend(more);
            world.run(Host::Kiosk, "timeout", &arguments)
        };
        let (certificate, key) = (forged.certificate.display().to_string(), forged.key.display().to_string());
        assert!(publish(&[]).is_err(), "without a certificate");
        assert!(publish(&["--cert", &certificate, "--key", &key]).is_err(), "with another authority's certificate");
        broker.publish_as(&place, "kiosk-1", "bk/v1/device/kiosk-1/event", b"x", &[])
    });
}
