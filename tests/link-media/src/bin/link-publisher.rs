//! One peer of the link benchmark: publishes until it is killed. `link-publisher OPTIONS.json`

use anyhow::{Context, Result};
use gstreamer as gst;
use kiosk_harness::link::peers::{PUBLISHED, PublisherOptions};
use kiosk_link_media::janus::Client;
use kiosk_link_media::publish::Publisher;
use serde_json::json;
use std::time::Duration;
use std::{env, fs, thread};

fn main() -> Result<()> {
    let path = env::args().nth(1).context("usage: link-publisher OPTIONS.json")?;
    let options: PublisherOptions = serde_json::from_str(&fs::read_to_string(&path)?)?;
    gst::init()?;
    let mut janus = Client::connect(&options.server, &options.token)?;
    let handle = janus.attach()?;
    let join = json!({"request": "join", "ptype": "publisher", "room": options.room, "display": options.display,
        "token": options.room_token});
    janus.message(handle, join, None)?;
    let publisher = Publisher::start(&options)?;
    let offer = json!({"type": "offer", "sdp": publisher.offer()?});
    let event = janus.message(handle, json!({"request": "publish"}), Some(offer))?;
    let answer = event["jsep"]["sdp"].as_str().with_context(|| format!("Janus gave no answer: {event}"))?;
    publisher.answer(answer)?;
    println!("{PUBLISHED}");
    // Without logic of its own a publisher does not come back when signalling is lost: it goes on, and what becomes of its
    // media is part of the measurement.
    let mut signalling = Some(janus);
    loop {
        publisher.look()?;
        match signalling.as_mut().map(|janus| janus.event(Duration::from_millis(100))) {
            Some(Ok(None)) => {}
            Some(Ok(Some(event))) => println!("{event}"),
            Some(Err(error)) => {
                println!("signalling is lost: {error:#}");
                signalling = None;
            }
            None => thread::sleep(Duration::from_millis(100)),
        }
    }
}
