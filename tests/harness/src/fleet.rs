//! A kiosk of a fleet: its broker, an admin who signs, and what the kiosk says.

use crate::{
    Error, Result,
    kiosk::{Kiosk, KioskConfig},
    mosquitto::{Mosquitto, Received, Subscriber},
    place::Place,
    process::Process,
    tls::ClientIdentity,
    world::{Host, World},
};
use ed25519_dalek::SigningKey;
use kiosk_proto::{
    config::KioskId,
    fleet::{
        Apply, Command, CommandId, CommandPayload, DesiredPayload, GroupName, Object, PayloadType, Target, TrustedKey,
        WhenBusy, sign,
    },
};
use serde::Serialize;
use serde_json::Value;
use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// The kiosk's name in most scenarios.
pub const KIOSK: &str = "kiosk-1";
/// The group that it is in.
pub const GROUP: &str = "east";
/// Port of a server that takes uploads.
pub const UPLOAD_PORT: u16 = 8443;
/// How long something gets that should happen at once, on a machine that is busy with other things.
pub const SOON: Duration = Duration::from_secs(30);

/// Somebody whose signatures may count.
#[derive(Debug, Clone)]
pub struct Signer(SigningKey);

impl Signer {
    /// The signer of this number; the same number has the same key.
    pub fn new(number: u8) -> Self {
        Self(SigningKey::from_bytes(&[number; 32]))
    }

    /// What `fleet.keys` has of it.
    pub fn public(&self) -> Result<String> {
        let key = TrustedKey::new(self.0.verifying_key(), None);
        key.map(|key| key.to_string()).map_err(|error| Error::Other(error.to_string()))
    }

    /// The key itself.
    pub fn key(&self) -> &SigningKey {
        &self.0
    }
}

/// Seconds since 1970.
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// A layer for the kiosk of most scenarios.
pub fn desired(revision: u64, config: Value) -> DesiredPayload {
    DesiredPayload {
        target: Target::Device(kiosk_id(KIOSK)),
        epoch: 1,
        revision,
        author: "Ada".into(),
        reason: "a test".into(),
        created: now(),
        expires: None,
        apply: Apply::Idle,
        force: false,
        config: Object(config.as_object().cloned().unwrap_or_default()),
    }
}

/// A command for the kiosk of most scenarios, good for a minute.
pub fn command(command: Command) -> CommandPayload {
    CommandPayload {
        target: Target::Device(kiosk_id(KIOSK)),
        id: CommandId::from_random(random_bytes()),
        created: now(),
        expires: now() + 60,
        author: "Ada".into(),
        reason: "a test".into(),
        force: false,
        when_busy: WhenBusy::Wait,
        command,
    }
}

fn random_bytes() -> [u8; 16] {
    let nanos = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos());
    let mut bytes = nanos.to_le_bytes();
    let pid = std::process::id().to_le_bytes();
    bytes[12..].copy_from_slice(&pid);
    bytes
}

/// The name as a type.
///
/// # Panics
/// When it is none.
pub fn kiosk_id(name: &str) -> KioskId {
    KioskId::try_from(name.to_owned()).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// The same for a group.
///
/// # Panics
/// When it is none.
pub fn group(name: &str) -> GroupName {
    GroupName::try_from(name.to_owned()).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// An envelope as it travels.
pub fn envelope(payload_type: PayloadType, payload: &impl Serialize, signers: &[&Signer]) -> Result<Vec<u8>> {
    let payload = serde_json::to_vec(payload).map_err(Error::json("payload"))?;
    let keys: Vec<&SigningKey> = signers.iter().map(|signer| signer.key()).collect();
    let signed = sign(payload_type, &payload, &keys).and_then(|envelope| envelope.to_bytes());
    signed.map_err(|error| Error::Other(error.to_string()))
}

/// The broker on the server's host, a kiosk that it knows, and an admin on the agent's host who sees all.
#[derive(Debug)]
pub struct Fleet {
    /// Who sees all that the kiosk says.
    pub all: Subscriber,
    /// The kiosk.
    pub kiosk: Kiosk,
    /// The broker.
    pub broker: Mosquitto,
    /// Whose signature counts.
    pub signer: Signer,
    /// Where the admin is.
    pub admin: Place,
    /// Where the kiosk keeps its state.
    pub state_dir: PathBuf,
}

/// The broker of most scenarios: it knows two kiosks, of which the first is in the group.
pub fn broker(world: &World) -> Result<Mosquitto> {
    Mosquitto::start(&world.at(Host::Server)?, Host::Server.address(), &[(KIOSK, &[GROUP]), ("kiosk-2", &[])])
}

/// The `[fleet]` section for a kiosk that the broker knows: one key, a short trial, figures every second.
pub fn section(config: KioskConfig, broker: &Mosquitto, state_dir: &Path) -> Result<KioskConfig> {
    section_for(config, &broker.url(), &broker.ca(), &broker.kiosk(KIOSK), state_dir)
}

/// The same for any broker.
pub fn section_for(
    config: KioskConfig,
    url: &str,
    ca: &Path,
    identity: &ClientIdentity,
    state_dir: &Path,
) -> Result<KioskConfig> {
    Ok(config
        .with("kiosk", "id", KIOSK)
        .with("fleet", "broker", url)
        .with("fleet", "ca_file", ca.display().to_string())
        .with("fleet", "cert_file", identity.certificate.display().to_string())
        .with("fleet", "key_file", identity.key.display().to_string())
        .with("fleet", "groups", vec![GROUP])
        .with("fleet", "keys", vec![Signer::new(1).public()?])
        .with("fleet", "state_dir", state_dir.display().to_string())
        .with("fleet", "metrics_interval_s", 1)
        .with("fleet", "keepalive_s", 5)
        .with("fleet", "trial_deadline_s", 10))
}

impl Fleet {
    /// Starts the kiosk at a broker; returns when it has said that it is there.
    pub fn start(world: &World, broker: Mosquitto, config: KioskConfig) -> Result<Self> {
        Self::start_in(world, broker, config, &[])
    }

    /// The same, after changes to the usual configuration.
    pub fn start_with(
        world: &World,
        broker: Mosquitto,
        config: KioskConfig,
        change: impl FnOnce(KioskConfig) -> KioskConfig,
    ) -> Result<Self> {
        Self::start_with_in(world, broker, config, change, &[])
    }

    /// Both.
    pub fn start_with_in(
        world: &World,
        broker: Mosquitto,
        config: KioskConfig,
        change: impl FnOnce(KioskConfig) -> KioskConfig,
        environment: &[(&str, String)],
    ) -> Result<Self> {
        let config = change(section(config, &broker, &world.dir().join("state"))?);
        Self::start_as(world, broker, &config, environment)
    }

    /// The same, with variables in the daemon's environment.
    pub fn start_in(
        world: &World,
        broker: Mosquitto,
        config: KioskConfig,
        environment: &[(&str, String)],
    ) -> Result<Self> {
        let config = section(config, &broker, &world.dir().join("state"))?;
        Self::start_as(world, broker, &config, environment)
    }

    fn start_as(
        world: &World,
        broker: Mosquitto,
        config: &KioskConfig,
        environment: &[(&str, String)],
    ) -> Result<Self> {
        let state_dir = world.dir().join("state");
        let admin = world.at(Host::Agent)?;
        let all = broker.subscribe(&admin, "all", &["bk/v1/device/#"])?;
        let kiosk = Kiosk::start_in(&world.at(Host::Kiosk)?, "kioskd", config, environment)?;
        let mut fleet = Self { all, kiosk, broker, signer: Signer::new(1), admin, state_dir };
        fleet.wait_presence(true)?;
        Ok(fleet)
    }

    /// A topic of the kiosk.
    pub fn topic(&self, word: &str) -> String {
        format!("bk/v1/device/{KIOSK}/{word}")
    }

    /// Pushes a signed layer, retained.
    pub fn push(&self, payload: &DesiredPayload) -> Result<()> {
        self.push_signed(payload, &[&self.signer])
    }

    /// The same, signed by whoever.
    pub fn push_signed(&self, payload: &DesiredPayload, signers: &[&Signer]) -> Result<()> {
        let topic = match &payload.target {
            Target::Device(id) => format!("bk/v1/device/{id}/desired"),
            Target::Group(group) => format!("bk/v1/group/{group}/desired"),
        };
        self.broker.publish(&self.admin, &topic, &envelope(PayloadType::Desired, payload, signers)?, true)
    }

    /// Sends a signed command with correlation data, and waits for the answer that is the last one.
    pub fn run(&mut self, payload: &CommandPayload) -> Result<Value> {
        self.send(payload)?;
        self.wait_answer(payload.id.as_str(), |answer| answer["outcome"] != "waiting")
    }

    /// Sends a signed command; its identifier is the correlation data too.
    pub fn send(&self, payload: &CommandPayload) -> Result<()> {
        let bytes = envelope(PayloadType::Command, payload, &[&self.signer])?;
        let id = payload.id.as_str();
        let response = self.topic("response/test");
        let properties =
            ["-D", "PUBLISH", "correlation-data", id, "-D", "PUBLISH", "response-topic", response.as_str()];
        self.broker.publish_as(
            &self.admin,
            crate::mosquitto::ADMIN,
            &self.topic("command"),
            &bytes,
            &[&properties[..], &["-D", "PUBLISH", "message-expiry-interval", "60"]].concat(),
        )
    }

    /// Waits for an answer with this correlation data.
    pub fn wait_answer(&mut self, correlation: &str, wanted: impl Fn(&Value) -> bool) -> Result<Value> {
        let message = self.wait(SOON, "an answer", |message| {
            message.topic.contains("/response") && message.correlation == correlation && wanted(&message.json())
        })?;
        Ok(message.json())
    }

    /// Waits until the kiosk is, or is not, there.
    pub fn wait_presence(&mut self, online: bool) -> Result<Value> {
        let topic = self.topic("presence");
        self.wait_last(SOON, "presence", &topic, |presence| presence["online"] == online)
    }

    /// Waits until what is reported is as wanted.
    pub fn wait_reported(&mut self, what: &str, wanted: impl Fn(&Value) -> bool) -> Result<Value> {
        self.wait_reported_for(SOON, what, wanted)
    }

    /// The same, for so long.
    pub fn wait_reported_for(
        &mut self,
        timeout: Duration,
        what: &str,
        wanted: impl Fn(&Value) -> bool,
    ) -> Result<Value> {
        let topic = self.topic("reported");
        self.wait_last(timeout, what, &topic, wanted)
    }

    /// Waits until the kiosk's own layer is in this phase; gives its newest attempt.
    pub fn wait_phase(&mut self, revision: u64, phase: &str) -> Result<Value> {
        self.wait_phase_for(SOON, revision, phase)
    }

    /// The same, for so long.
    pub fn wait_phase_for(&mut self, timeout: Duration, revision: u64, phase: &str) -> Result<Value> {
        let what = format!("revision {revision} to be {phase}");
        let reported = self.wait_reported_for(timeout, &what, |reported| {
            let attempt = &layer(reported, "device")["attempts"][0];
            attempt["revision"] == revision && attempt["phase"] == phase
        })?;
        Ok(layer(&reported, "device")["attempts"][0].clone())
    }

    /// Waits for a message.
    pub fn wait(&mut self, timeout: Duration, what: &str, wanted: impl Fn(&Received) -> bool) -> Result<Received> {
        let Self { all, kiosk, .. } = self;
        kiosk.process().must_run()?;
        all.wait(timeout, what, wanted).map_err(|error| kiosk.process().explain(error))
    }

    /// Waits until the last message on a topic is as wanted.
    pub fn wait_last(
        &mut self,
        timeout: Duration,
        what: &str,
        topic: &str,
        wanted: impl Fn(&Value) -> bool,
    ) -> Result<Value> {
        let Self { all, kiosk, .. } = self;
        let last = |all: &Subscriber| all.messages().into_iter().rfind(|message| message.topic == topic);
        let found = crate::wait::until(timeout, what, || {
            Ok(last(all).map(|message| message.json()).filter(|value| wanted(value)))
        });
        found.map_err(|error| match error {
            Error::Timeout { what, after, .. } => {
                let log =
                    format!("the last message on {topic}: {}\n", last(all).map_or_else(String::new, |m| m.text()));
                kiosk.process().explain(Error::Timeout { what, after, log })
            }
            other => other,
        })
    }

    /// How often the daemon has started, as the admin sees it.
    pub fn starts(&self) -> usize {
        self.said("event").iter().filter(|event| event["kind"] == "daemon-started").count()
    }

    /// All messages on a topic of the kiosk, as JSON.
    pub fn said(&self, word: &str) -> Vec<Value> {
        let topic = self.topic(word);
        self.all.messages().iter().filter(|message| message.topic == topic).map(Received::json).collect()
    }

    /// An HTTPS server on the server's host that takes one request and answers with a status.
    pub fn upload_server(&self, world: &World, status: &str) -> Result<Process> {
        let identity = self.broker.authority().server(&[&Host::Server.address().to_string()])?;
        let dir = world.dir().display();
        // What it prints on standard input is the answer; it has to wait for the request.
        let script = format!(
            "(while ! grep -q Content-Length {dir}/upload; do sleep 0.1; done; sleep 1; \
             printf 'HTTP/1.1 {status}\\r\\nContent-Length: 0\\r\\n\\r\\n'; sleep 2) | openssl s_server -quiet -naccept 1 \
             -port {UPLOAD_PORT} -cert {} -key {} > {dir}/upload",
            identity.certificate.display(),
            identity.key.display()
        );
        let mut command = world.at(Host::Server)?.command("sh");
        fs::write(world.dir().join("upload"), "").map_err(Error::io("upload"))?;
        let mut process = world.at(Host::Server)?.spawn("https", command.args(["-c", &script]))?;
        process.until(SOON, "the server to listen", || {
            let listening = world.run(Host::Server, "ss", &["-Hltn", &format!("sport = :{UPLOAD_PORT}")])?;
            Ok((!listening.trim().is_empty()).then_some(()))
        })?;
        Ok(process)
    }
}

/// One layer of what is reported: `device`, or the name of a group.
pub fn layer<'a>(reported: &'a Value, name: &str) -> &'a Value {
    let layers = reported["layers"].as_array().map(Vec::as_slice).unwrap_or_default();
    layers.iter().find(|layer| layer["layer"] == name || layer["layer"]["group"] == name).unwrap_or(&Value::Null)
}

/// The request that [`Fleet::upload_server`] was sent.
pub fn uploaded(world: &World) -> Result<Vec<u8>> {
    fs::read(world.dir().join("upload")).map_err(Error::io("upload"))
}
