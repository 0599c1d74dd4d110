//! A Janus that serves a rendered configuration, and a client that speaks its protocol.

use super::place::{Running, done, kioskctl, until};
use serde_json::{Value, json};
use std::fs::{File, Permissions};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;
use tungstenite::{ClientRequestBuilder, Message, WebSocket};

/// Writes a site file with three rooms (1003 has a PIN), its secrets and a certificate. `media` goes under `[media]`.
pub fn write_site(folder: &Path, media: &str) -> PathBuf {
    let closed = |name: &str, content: &str| {
        let path = folder.join(name);
        std::fs::write(&path, content).unwrap();
        std::fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
    };
    closed("token-secret", "8f1d0c5b7a9e46e2b3f4a5968778695a\n");
    closed("admin-secret", "01b2c3d4e5f60718293a4b5c6d7e8f90\n");
    closed("pin", "481516\n");
    let key = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "90"];
    done(
        Command::new("openssl")
            .args(key)
            .args([
                "-subj",
                "/CN=localhost",
                "-addext",
                "subjectAltName=DNS:localhost",
                "-keyout",
                "key.pem",
                "-out",
                "cert.pem",
            ])
            .current_dir(folder),
    );
    let here = folder.display();
    let site = folder.join("site.toml");
    let text = format!(
        r#"
        [secrets]
        token_file = "{here}/token-secret"
        admin_file = "{here}/admin-secret"
        [signalling]
        certificate = "{here}/cert.pem"
        key = "{here}/key.pem"
        loopback_port = 8188
        [media]
        simultaneous_calls = 2
        {media}
        [[room]]
        id = 1001
        description = "Branch 1"
        [[room]]
        id = 1002
        description = "강남 \"2\" \\ x"
        [[room]]
        id = 1003
        description = "Branch 3"
        pin_file = "{here}/pin"
        "#
    );
    std::fs::write(&site, text).unwrap();
    site
}

/// The real Janus, with a rendered configuration.
pub struct Server {
    _janus: Running,
    folder: tempfile::TempDir,
}

impl Server {
    pub fn start(media: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let site = write_site(folder.path(), media);
        let out = folder.path().join("janus");
        std::fs::create_dir(&out).unwrap();
        let rendered = done(kioskctl().args(["server", "render", "--json", "--site"]).arg(site).arg("--out").arg(&out));
        let files = serde_json::from_str::<serde_json::Value>(&rendered).unwrap()["files"].clone();
        assert!(files.as_array().unwrap().contains(&out.join("janus.jcfg").display().to_string().into()), "{rendered}");
        let log = File::create(folder.path().join("log")).unwrap();
        let janus = Command::new("janus")
            .arg("--configs-folder")
            .arg(&out)
            .stdin(Stdio::null())
            .stderr(log.try_clone().unwrap())
            .stdout(log)
            .spawn()
            .expect("the Debian package janus is needed");
        let server = Self { _janus: Running(janus), folder };
        until("Janus to listen", || TcpStream::connect(("127.0.0.1", 8989)).ok());
        until("Janus to finish its start", || server.log().contains("WebSockets thread started").then_some(()));
        server
    }

    pub fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(self.folder.path().join("log")).unwrap()).into_owned()
    }

    /// The configuration folder that it runs with.
    pub fn configuration(&self) -> PathBuf {
        self.folder.path().join("janus")
    }

    pub fn certificate(&self) -> PathBuf {
        self.folder.path().join("cert.pem")
    }

    /// An API token and a room token.
    pub fn tokens(&self, arguments: &[&str]) -> (String, String) {
        let secret = self.folder.path().join("token-secret");
        let json = done(kioskctl().args(["server", "token", "--json", "--secret-file"]).arg(secret).args(arguments));
        let tokens: Value = serde_json::from_str(&json).unwrap();
        (tokens["token"].as_str().unwrap().to_owned(), tokens["room_token"].as_str().unwrap().to_owned())
    }
}

/// A client of Janus, attached to the videoroom plugin.
pub struct Client {
    socket: WebSocket<TcpStream>,
    token: String,
    session: Value,
    handle: Value,
}

impl Client {
    /// A connection without a session.
    pub fn connect() -> Self {
        let stream = TcpStream::connect(("127.0.0.1", 8188)).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        let request =
            ClientRequestBuilder::new("ws://127.0.0.1:8188/".parse().unwrap()).with_sub_protocol("janus-protocol");
        let (socket, _) = tungstenite::client(request, stream).unwrap();
        Self { socket, token: String::new(), session: Value::Null, handle: Value::Null }
    }

    /// A connection with a session and a handle.
    pub fn new(token: &str) -> Self {
        let mut client = Self::connect();
        client.token = token.to_owned();
        client.session = client.request(json!({ "janus": "create", "token": token }))["data"]["id"].clone();
        let attach = json!({
            "janus": "attach", "token": token, "session_id": client.session, "plugin": "janus.plugin.videoroom"
        });
        let attached = client.request(attach);
        client.handle = attached["data"]["id"].clone();
        assert!(client.handle.is_number(), "{attached}");
        client
    }

    pub fn session(&self) -> Value {
        self.session.clone()
    }

    /// Sends a request and returns what Janus has to say to it, after its `ack`.
    pub fn request(&mut self, mut request: Value) -> Value {
        request["transaction"] = json!("t");
        self.socket.send(Message::text(request.to_string())).unwrap();
        loop {
            let Message::Text(text) = self.socket.read().unwrap() else { continue };
            let answer: Value = serde_json::from_str(&text).unwrap();
            if answer["transaction"] == "t" && answer["janus"] != "ack" {
                return answer;
            }
        }
    }

    /// A request to the plugin.
    pub fn ask(&mut self, body: Value) -> Value {
        self.message(json!({ "body": body }))
    }

    fn message(&mut self, mut message: Value) -> Value {
        message["janus"] = json!("message");
        message["token"] = json!(self.token);
        message["session_id"] = self.session.clone();
        message["handle_id"] = self.handle.clone();
        self.request(message)
    }

    /// Joins a room and offers to send; returns the SDP of Janus's answer.
    pub fn publish(&mut self, room: u64, room_token: &str) -> String {
        let answer = self.message(json!({
            "body": { "request": "joinandconfigure", "ptype": "publisher", "room": room, "token": room_token },
            "jsep": { "type": "offer", "sdp": OFFER },
        }));
        let sdp = answer.pointer("/jsep/sdp").and_then(Value::as_str);
        sdp.unwrap_or_else(|| panic!("no SDP: {answer}")).to_owned()
    }
}

/// An offer to send H.264, as a kiosk makes it. Nobody connects: the answer is what is looked at.
const OFFER: &str = "v=0\r\n\
o=- 1 1 IN IP4 127.0.0.1\r\n\
s=-\r\n\
t=0 0\r\n\
a=group:BUNDLE 0\r\n\
m=video 9 UDP/TLS/RTP/SAVPF 96\r\n\
c=IN IP4 0.0.0.0\r\n\
a=rtcp-mux\r\n\
a=mid:0\r\n\
a=sendonly\r\n\
a=setup:actpass\r\n\
a=ice-ufrag:abcd\r\n\
a=ice-pwd:abcdefghijklmnopqrstuvwx\r\n\
a=ice-options:trickle\r\n\
a=fingerprint:sha-1 00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF:00:11:22:33\r\n\
a=rtpmap:96 H264/90000\r\n\
a=fmtp:96 profile-level-id=42e01f;packetization-mode=1;level-asymmetry-allowed=1\r\n\
a=rtcp-fb:96 nack pli\r\n";
