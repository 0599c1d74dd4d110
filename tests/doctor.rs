//! `kioskd doctor` before the real Janus: a site that is right passes, and each fault is named by the check that it is about.

use kiosk_harness::{
    Error, Result,
    doctor::{doctor, failed, names},
    fleet::{self, Fleet, command},
    janus::{Janus, JanusOptions, ROOM, WSS_PORT},
    proxy::{HttpProxy, PORT},
    scene,
    wait::until,
    world::{Host, World, scenario},
};
use kiosk_proto::fleet::{Command, WhenBusy};
use std::{fs, time::Duration};

/// How long a self-check gets on a busy machine.
const CHECK: Duration = Duration::from_secs(90);

fn restart(janus: &mut Janus) -> Result<()> {
    janus.kill()?;
    janus.restart()
}

/// A file with the certificate of an authority that signed nothing here.
fn another_authority(world: &World) -> Result<String> {
    let [other, key] = ["another.pem", "another.key"].map(|name| world.dir().join(name).display().to_string());
    let make = ["req", "-x509", "-newkey", "ed25519", "-nodes", "-subj", "/CN=Another authority", "-keyout", &key];
    world.run(Host::Kiosk, "openssl", &[make.as_slice(), &["-out", &other]].concat())?;
    Ok(other)
}

#[test]
fn a_site_that_is_right_passes_and_leaves_nothing_behind() {
    scenario(|world| {
        let janus = scene::janus(world)?;
        let config = scene::kiosk_config(&janus)?;
        let wanted =
            ["network.signalling", "network.media-ports", "janus.ice-tcp", "janus.room", "ice.candidates", "ice.dial"];
        let of_the_call = [
            "call.picture",
            "call.sound",
            "proof.candidates",
            "proof.sdp",
            "proof.sockets",
            "proof.capture",
            "proof.pairs",
        ];
        let page = world.dir().join("report.html").display().to_string();
        for (more, wanted) in [
            (["--report", &page, "--lang", "ko"].as_slice(), [wanted.as_slice(), &of_the_call].concat()),
            (&["--no-call"], wanted.to_vec()),
        ] {
            let (_, findings) = doctor(world, &config, more)?;
            println!("{findings:#?}");
            let bad: Vec<_> = findings.iter().filter(|(_, outcome, _)| outcome == "fail").collect();
            assert!(bad.is_empty(), "{bad:?}");
            for id in wanted {
                assert!(
                    findings.iter().any(|(found, outcome, _)| found == id && outcome == "pass"),
                    "{id}: {findings:?}"
                );
            }
        }
        // One file with the evidence, which needs no other.
        let page = fs::read_to_string(page).map_err(Error::io("the report"))?;
        for words in ["<html lang=ko>", "Branch Kiosk · kiosk-1", "정상", "tcptype passive: 10.77.1.2:400", "지점"]
        {
            assert!(page.contains(words), "{words}: {page}");
        }
        for outside in ["http://", "https://", "src=", "<link", "<script", "url(", "@import"] {
            assert!(!page.contains(outside), "{outside}: {page}");
        }
        Ok(())
    });
}

#[test]
fn each_fault_of_a_site_is_named() {
    scenario(|world| {
        let mut janus = scene::janus(world)?;
        let config = scene::kiosk_config(&janus)?;

        names(world, &config.clone().with("janus", "url", "wss://nobody.bank.test:8989/"), "network.name", "nobody")?;
        names(world, &config.clone().with("janus", "room", 4711), "janus.room", "not among")?;
        names(world, &config.clone().with("camera", "widht", 640), "config", "widht")?;
        names(world, &config.clone().without("janus", "ca_file"), "janus.websocket", "server-certificate")?;
        names(world, &config.clone().without("janus", "token_file"), "janus.token", "403")?;
        names(world, &config.clone().without("janus", "room_token_file"), "ice.negotiation", "433")?;
        names(world, &config.clone().with("janus", "media_ports", "50000-50099"), "ice.candidates", "50000-50099")?;
        // Somebody who opens TLS on the way has an authority of their own.
        let other = another_authority(world)?;
        let opened: Vec<String> =
            failed(world, &config.clone().with("janus", "ca_file", other))?.into_iter().map(|(id, _)| id).collect();
        assert_eq!(opened, ["tls.server"]);
        let alsa = config.clone().with("audio", "source", "alsa").with("audio", "sink", "alsa");
        let deaf = alsa.with("audio", "source_device", "nobody").with("audio", "sink_device", "nobody");
        let deaf: Vec<String> = failed(world, &deaf)?.into_iter().map(|(id, _)| id).collect();
        assert_eq!(deaf, ["device.speaker", "device.microphone"]);
        names(world, &config.clone().with("camera", "source", "v4l2"), "device.camera", "")?;
        names(world, &config.clone().with("video", "encoder", "x265enc"), "device.encoder", "x265enc")?;
        let (expired, _) = janus.kiosk_token_files_for(ROOM, "1s")?;
        std::thread::sleep(Duration::from_secs(2));
        names(world, &config.clone().with("janus", "token_file", expired.display().to_string()), "janus.token", "403")?;
        janus.kiosk_token_files(ROOM)?;

        let (right, wrong) = ("disable = \"", "disable = \"libjanus_videoroom.so,");
        janus.edit("janus.jcfg", right, wrong)?;
        restart(&mut janus)?;
        names(world, &config, "janus.videoroom", "not among")?;
        janus.edit("janus.jcfg", wrong, right)?;
        janus.edit("janus.jcfg", "ice_tcp = true", "ice_tcp = false")?;
        restart(&mut janus)?;
        let off: Vec<String> = failed(world, &config)?.into_iter().map(|(id, _)| id).collect();
        assert_eq!(off, ["janus.ice-tcp"]);
        janus.edit("janus.jcfg", "ice_tcp = false", "ice_tcp = true")?;
        for (right, wrong, id) in [
            ("videocodec = \"h264\"", "videocodec = \"vp8\"", "janus.room-codec"),
            ("audiocodec = \"opus\"", "audiocodec = \"pcmu\"", "janus.room-codec"),
            ("publishers = 2", "publishers = 3", "janus.room-publishers"),
        ] {
            janus.edit("janus.plugin.videoroom.jcfg", right, wrong)?;
            restart(&mut janus)?;
            names(world, &config, id, wrong.rsplit(' ').next().unwrap_or_default().trim_matches('"'))?;
            janus.edit("janus.plugin.videoroom.jcfg", wrong, right)?;
        }
        restart(&mut janus)?;

        world.nft(
            Host::Router,
            "table inet branch {\n chain f {\n type filter hook forward priority 0\n tcp dport 40000-40099 drop\n }\n}\n",
        )?;
        let closed: Vec<String> = failed(world, &config)?.into_iter().map(|(id, _)| id).collect();
        assert_eq!(closed, ["network.media-ports"]);
        // A box that takes connections to see what is in them, and resets them then.
        let inspects = "tcp dport 40000-40099 ct state established reject with tcp reset";
        world.nft(
            Host::Router,
            &format!(
                "table inet branch\ndelete table inet branch\n\
                 table inet branch {{\n chain f {{\n type filter hook forward priority 0\n {inspects}\n }}\n}}\n"
            ),
        )?;
        names(world, &config, "ice.dial", "connected, and broken off")?;
        world.run(Host::Router, "nft", &["delete", "table", "inet", "branch"])?;

        janus.kill()?;
        names(world, &config, "network.signalling", "refused")?;
        world.cut(Host::Server)?;
        names(world, &config, "network.signalling", "")?;
        // The kiosk itself knows no way there.
        world.run(Host::Kiosk, "ip", &["route", "delete", "default"])?;
        names(world, &config, "network.signalling", "unreachable")
    });
}

#[test]
fn each_fault_of_the_fleets_part_is_named() {
    scenario(|world| {
        let janus = scene::janus(world)?;
        let mut broker = fleet::broker(world)?;
        let config = fleet::section(scene::kiosk_config(&janus)?, &broker, &world.dir().join("state"))?;
        assert_eq!(failed(world, &config)?, []);
        let other = another_authority(world)?;
        names(world, &config.clone().with("fleet", "ca_file", other), "tls.broker", "Another authority")?;
        let ended = broker.authority().client_until("ended", 2024)?.certificate.display().to_string();
        names(world, &config.clone().with("fleet", "cert_file", ended), "tls.own", "valid for -")?;
        broker.kill()?;
        names(world, &config, "network.broker", "refused")
    });
}

#[test]
fn behind_a_proxy_all_is_asked_by_it_and_its_refusal_is_named() {
    scenario(|world| {
        const NAME: &str = "janus.bank.test";
        let options = JanusOptions { name: Some(NAME.into()), ..JanusOptions::new(Host::Server.address()) };
        let janus = Janus::start(&world.at(Host::Server)?, options)?;
        let (address, port) = (format!("{{ {} }}", Host::Agent2.address()), format!("{{ {PORT} }}"));
        world.firewall(Host::Kiosk, "kiosk.nft", &[("server_addresses", &address), ("signalling_ports", &port)])?;
        let known = [(NAME, Host::Server.address().into())];
        let place = world.at(Host::Agent2)?;
        let ports = [WSS_PORT].into_iter().chain(40000..=40099);
        let proxy = HttpProxy::start(&place, Host::Agent2.address(), ports, &known)?;
        let config =
            proxy.used_by(scene::kiosk_config(&janus)?).with("janus", "url", format!("wss://{NAME}:{WSS_PORT}/"));
        let (_, findings) = doctor(world, &config, &[])?;
        let bad: Vec<_> = findings.iter().filter(|(_, outcome, _)| outcome == "fail").collect();
        assert!(bad.is_empty(), "{bad:?}");
        for id in ["network.proxy", "tls.server", "ice.candidates", "call.picture", "proof.sockets", "proof.capture"] {
            let passed = findings.iter().any(|(found, outcome, _)| found == id && outcome == "pass");
            assert!(passed, "{id}: {findings:#?}");
        }
        for id in ["proxy.reach", "proxy.credentials", "network.media-ports", "ice.dial"] {
            assert!(findings.iter().any(|(found, outcome, _)| found == id && outcome == "pass"), "{id}: {findings:#?}");
        }
        proxy.write_password("Tr0ub4dor-and-3")?;
        names(world, &config, "proxy.credentials", "(401)")?;
        // Media ports that it does not let through.
        drop(proxy);
        let proxy = HttpProxy::start(&place, Host::Agent2.address(), [WSS_PORT], &known)?;
        let closed = failed(world, &config)?;
        let ids: Vec<&str> = closed.iter().map(|(id, _)| id.as_str()).collect();
        assert_eq!(ids, ["network.media-ports"]);
        assert!(closed.iter().all(|(_, seen)| seen.contains("403")), "{closed:?}");
        names(world, &config.clone().with("janus", "url", format!("wss://{NAME}:8990/")), "network.proxy", "403")?;
        drop(proxy);
        names(world, &config, "proxy.reach", "refused")
    });
}

#[test]
fn a_line_that_is_too_thin_is_measured_and_a_smaller_picture_is_proposed() {
    scenario(|world| {
        let janus = scene::janus(world)?;
        let config = scene::kiosk_config(&janus)?;
        let shape =
            ["qdisc", "replace", "dev", "eth0", "root", "tbf", "rate", "600kbit", "burst", "8kb", "latency", "2000ms"];
        world.run(Host::Kiosk, "tc", &shape)?;
        let proposal = world.dir().join("proposal.json");
        let (_, findings) = doctor(world, &config, &["--proposal", &proposal.display().to_string()])?;
        let seen = |id: &str| findings.iter().find(|(found, ..)| found == id).cloned().unwrap_or_default();
        assert!(seen("call.throughput").2.contains("the way up is full"), "{findings:#?}");
        assert_eq!(seen("call.recommendation").1, "warn", "{findings:#?}");
        // The firewall drops no UDP here, and none was sent.
        assert_eq!(seen("proof.capture").1, "pass", "{findings:#?}");
        let text = fs::read_to_string(&proposal).map_err(Error::io("the proposal"))?;
        let layer: serde_json::Value = serde_json::from_str(&text).map_err(Error::json("the proposal"))?;
        // For what a call is set to need at least it is no line at all.
        let (_, findings) = doctor(world, &config.with("video", "min_bitrate_kbps", 700), &[])?;
        let throughput = findings.iter().find(|(id, ..)| id == "call.throughput");
        assert!(throughput.is_some_and(|(_, outcome, _)| outcome == "fail"), "{findings:#?}");
        let bitrate = layer["video"]["bitrate_kbps"].as_u64().unwrap_or_default();
        assert!((150..=420).contains(&bitrate) && layer["camera"]["frames_per_second"].as_u64() < Some(30), "{layer}");
        Ok(())
    });
}

#[test]
fn a_customer_in_the_room_is_not_disturbed() {
    scenario(|world| {
        let janus = scene::janus(world)?;
        let config = scene::kiosk_config(&janus)?;
        let mut kiosk = scene::kiosk(world, &config)?;
        kiosk.start_call()?;
        kiosk.wait_state("waiting", scene::SETUP)?;
        let call = kiosk.call_id()?;
        let config = config.with("control", "bus", kiosk.bus_address());
        let (_, findings) = doctor(world, &config, &[])?;
        let room = "kiosk/kiosk-1 is in the room";
        for (id, why) in [("device.camera", "in a call"), ("ice.negotiation", room), ("call", room)] {
            let (_, outcome, seen) = findings.iter().find(|(found, ..)| found == id).cloned().unwrap_or_default();
            assert!(outcome == "skipped" && seen.contains(why), "{findings:#?}");
        }
        assert_eq!((kiosk.state()?, kiosk.call_id()?, kiosk.faults()?), ("waiting".to_owned(), call, Vec::new()));
        Ok(())
    });
}

#[test]
fn the_screen_and_the_fleet_can_ask_and_a_customer_comes_first() {
    scenario(|world| {
        let janus = scene::janus(world)?;
        let config = scene::kiosk_config(&janus)?;
        let mut fleet = Fleet::start(world, fleet::broker(world)?, config)?;
        assert_eq!(fleet.kiosk.self_check()?["state"], "never");

        // A call that starts ends it, and enters a room that is free again.
        fleet.kiosk.start_self_check()?;
        until(fleet::SOON, "a self-check that runs", || {
            Ok((fleet.kiosk.self_check()?["state"] == "running").then_some(()))
        })?;
        assert!(fleet.kiosk.start_self_check().is_ok(), "a second one is refused without harm");
        fleet.kiosk.start_call()?;
        fleet.kiosk.wait_state("waiting", scene::SETUP)?;
        let ended = fleet.kiosk.self_check()?;
        assert!(ended["state"] == "failed" && ended["message"].to_string().contains("a call starts"), "{ended}");
        assert!(fleet.kiosk.start_self_check().is_err(), "not in a call");
        let mut refuse = command(Command::SelfCheck {});
        refuse.when_busy = WhenBusy::Refuse;
        assert_eq!(fleet.run(&refuse)?["outcome"], "refused");
        fleet.kiosk.end_call()?;

        let ask = command(Command::SelfCheck {});
        fleet.send(&ask)?;
        let answer = until(CHECK, "the self-check's result", || {
            let mut said = fleet.said("response/test").into_iter();
            Ok(said.find(|answer| answer["id"] == ask.id.as_str() && answer["outcome"] != "waiting"))
        })?;
        let found = |id: &str| {
            let all = answer["result"]["checks"].as_array().into_iter().flatten();
            all.filter(|check| check["id"] == id).map(|check| check["outcome"].to_string()).collect::<Vec<_>>()
        };
        assert_eq!(answer["outcome"], "done", "{answer}");
        for id in ["network.broker", "tls.broker", "tls.own", "call.picture", "proof.sockets", "proof.pairs"] {
            assert_eq!(found(id), ["\"pass\""], "{id}: {answer:#}");
        }
        assert_eq!(fleet.kiosk.self_check()?["state"], "done");
        Ok(())
    });
}
