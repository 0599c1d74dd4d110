//! Janus as a site runs it, from the files in config/janus, in a world.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use kiosk_harness::{
    janus::{Janus, JanusOptions, ROOM, WSS_PORT},
    procfs::is_listening,
    world::{Host, scenario},
};

#[test]
fn it_listens_with_tls_and_comes_back_after_a_crash() {
    scenario(|world| {
        let mut janus = Janus::start(&world.at(Host::Server)?, JanusOptions::new(Host::Server.address()))?;
        let connect = format!("{}:{WSS_PORT}", Host::Server.address());
        let ca = janus.identity().ca.display().to_string();
        let arguments = ["s_client", "-connect", &connect, "-CAfile", &ca, "-verify_return_error", "-brief"];
        world.run(Host::Kiosk, "openssl", &arguments)?;

        let before = janus.process().pid();
        janus.kill()?;
        assert!(world.run(Host::Kiosk, "openssl", &arguments).is_err());
        janus.restart()?;
        assert_ne!(janus.process().pid(), before);
        world.run(Host::Kiosk, "openssl", &arguments)?;
        Ok(())
    });
}

#[test]
fn its_doors_are_the_one_for_signalling_only() {
    scenario(|world| {
        let mut janus = Janus::start(&world.at(Host::Server)?, JanusOptions::new(Host::Server.address()))?;
        let pid = janus.process().pid();
        for port in [8088, 8089, 7088, 7089, 8188, 7188, 7989] {
            assert!(!is_listening(pid, port), "port {port} is open");
        }
        Ok(())
    });
}

#[test]
fn tokens_are_signed_for_a_room() {
    scenario(|world| {
        let janus = Janus::start(&world.at(Host::Server)?, JanusOptions::new(Host::Server.address()))?;
        let tokens = janus.agent_tokens(ROOM)?;
        assert!(tokens.token.contains("janus.plugin.videoroom"), "{tokens:?}");
        assert!(tokens.room_token.contains("room=1001"), "{tokens:?}");
        let (token, room_token) = janus.kiosk_token_files(ROOM)?;
        assert!(token.is_file() && room_token.is_file());
        Ok(())
    });
}
