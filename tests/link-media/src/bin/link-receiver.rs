//! Receives from Janus what the publishers of a run send and writes a line of JSON for each thing that arrives, until
//! its standard input is closed. `link-receiver OPTIONS.json`

use std::collections::HashMap;
use std::io::Read;
use std::path::Path;
use std::sync::mpsc::{Receiver as Inbox, Sender, TryRecvError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use std::{env, fs, process, thread};

use anyhow::{Context, Result};
use gstreamer as gst;
use kiosk_harness::link::record::{Line, ReceiverOptions, Rtp, Subscription, now_us};
use kiosk_link_media::counter::Counter;
use kiosk_link_media::janus::Client;
use kiosk_link_media::notes::Notes;
use kiosk_link_media::quality::Reference;
use kiosk_link_media::receive::Receiver;
use serde_json::{Value, json};

/// How often packets are noted and lines brought on their way.
const TICK: Duration = Duration::from_millis(100);

/// Packets of the connections that are there now.
type Counters = Arc<Mutex<Vec<(String, kiosk_harness::link::record::Medium, Arc<Mutex<Counter>>)>>>;

fn main() -> Result<()> {
    let path = env::args().nth(1).context("usage: link-receiver OPTIONS.json")?;
    let text = fs::read_to_string(&path).with_context(|| path.clone())?;
    let options: ReceiverOptions = serde_json::from_str(&text).with_context(|| path.clone())?;
    gst::init()?;
    let reference = options.recording.as_deref().map(|path| Reference::load(Path::new(path))).transpose()?;
    let notes = Notes::new(reference, options.quality_every)?;
    let counters = Counters::default();
    for subscription in options.publishers.clone() {
        let (options, notes, counters) = (options.clone(), notes.clone(), counters.clone());
        thread::Builder::new().name(subscription.name.clone()).spawn(move || {
            if let Err(error) = follow(&options, &subscription, &notes, &counters) {
                eprintln!("{}: {error:#}", subscription.name);
                process::exit(1);
            }
        })?;
    }
    let stopped = standard_input_closed();
    while stopped.try_recv() == Err(TryRecvError::Empty) {
        thread::sleep(TICK);
        let all = counters.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for (publisher, medium, counter) in all {
            let counter = *counter.lock().unwrap_or_else(PoisonError::into_inner);
            let (expected, received, bytes) = (counter.expected(), counter.received, counter.bytes);
            notes.write(&Line::Rtp(Rtp { publisher, at_us: now_us(), medium, expected, received, bytes }));
        }
        notes.flush();
    }
    notes.flush();
    // Connections end with the process: nobody waits for an orderly end here.
    process::exit(0)
}

fn standard_input_closed() -> Inbox<()> {
    let (sender, inbox): (Sender<()>, _) = channel();
    thread::spawn(move || {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        drop(sender);
    });
    inbox
}

/// Receives whoever publishes in a room, now and again when it comes back.
fn follow(options: &ReceiverOptions, subscription: &Subscription, notes: &Notes, counters: &Counters) -> Result<()> {
    let mut janus = Client::connect(&options.server, &options.token)?;
    let roster = janus.attach()?;
    let join = json!({"request": "join", "ptype": "publisher", "room": subscription.room,
        "display": "agent/receiver", "token": subscription.room_token});
    let mut event = Some(janus.message(roster, join, None)?);
    let mut receivers: HashMap<u64, (u64, Receiver)> = HashMap::new();
    loop {
        let data = event.take().map(|event| event["plugindata"]["data"].clone()).unwrap_or_default();
        for feed in feeds(&data["publishers"]) {
            if receivers.contains_key(&feed) {
                continue;
            }
            // Whoever comes anew replaces who was there.
            drop_all(&mut receivers, &mut janus);
            match subscribe(&mut janus, subscription, feed, notes) {
                Ok(received) => {
                    let named = received
                        .1
                        .counters
                        .clone()
                        .map(|(medium, counter)| (subscription.name.clone(), medium, counter));
                    let mut all = counters.lock().unwrap_or_else(PoisonError::into_inner);
                    all.retain(|(name, ..)| *name != subscription.name);
                    all.extend(named);
                    receivers.insert(feed, received);
                }
                // It may have left again meanwhile.
                Err(error) => eprintln!("{}: feed {feed}: {error:#}", subscription.name),
            }
        }
        for key in ["unpublished", "leaving"] {
            if let Some((handle, receiver)) = data[key].as_u64().and_then(|feed| receivers.remove(&feed)) {
                drop(receiver);
                let _ = janus.detach(handle);
            }
        }
        for (_, receiver) in receivers.values() {
            receiver.look().unwrap_or_else(|error| eprintln!("{}: {error:#}", subscription.name));
        }
        event = janus.event(TICK)?;
    }
}

fn drop_all(receivers: &mut HashMap<u64, (u64, Receiver)>, janus: &mut Client) {
    for (_, (handle, receiver)) in receivers.drain() {
        drop(receiver);
        // Janus may have closed it itself.
        let _ = janus.detach(handle);
    }
}

fn feeds(publishers: &Value) -> Vec<u64> {
    publishers.as_array().into_iter().flatten().filter_map(|publisher| publisher["id"].as_u64()).collect()
}

fn subscribe(janus: &mut Client, to: &Subscription, feed: u64, notes: &Notes) -> Result<(u64, Receiver)> {
    let handle = janus.attach()?;
    let join = json!({"request": "join", "ptype": "subscriber", "room": to.room, "streams": [{"feed": feed}],
        "token": to.room_token});
    let event = janus.message(handle, join, None)?;
    let offer = event["jsep"]["sdp"].as_str().with_context(|| format!("Janus gave no offer: {event}"))?;
    let (receiver, answer) = Receiver::new(&to.name, offer, notes)?;
    janus.message(handle, json!({"request": "start"}), Some(json!({"type": "answer", "sdp": answer})))?;
    Ok((handle, receiver))
}
