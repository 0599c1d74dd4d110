//! Serves the built agent's console on this machine.

use crate::{Error, Result, janus::Tokens, world::repository};
use std::{
    fs::{self, File},
    net::{Ipv4Addr, SocketAddr},
    path::{Component, Path, PathBuf},
    sync::Arc,
    thread::{self, JoinHandle},
};
use tiny_http::{Header, Response, Server};

/// A running page server on 127.0.0.1.
pub struct Console {
    server: Arc<Server>,
    port: u16,
    thread: Option<JoinHandle<()>>,
}

impl Console {
    /// Starts to serve agent-console/dist.
    pub fn start(port: u16) -> Result<Self> {
        let root = repository().join("agent-console/dist");
        if !root.join("index.html").is_file() {
            return Err(Error::Other("agent-console/dist is not built: run `npm run build` in agent-console".into()));
        }
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let server = Server::http(address).map_err(|error| Error::Other(format!("listen on {address}: {error}")))?;
        let server = Arc::new(server);
        let serving = Arc::clone(&server);
        let thread = thread::spawn(move || {
            for request in serving.incoming_requests() {
                let _ = match page(&root, request.url()) {
                    Some((file, kind)) => request.respond(Response::from_file(file).with_header(kind)),
                    None => request.respond(Response::from_string("not found").with_status_code(404)),
                };
            }
        });
        Ok(Self { server, port, thread: Some(thread) })
    }

    /// Address of the page.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}/", self.port)
    }

    /// Address of the page with everything that an agent signs in with.
    pub fn signed_in_url(&self, server: &str, name: &str, tokens: &Tokens) -> String {
        let fields = [("server", server), ("name", name), ("token", &tokens.token), ("room_token", &tokens.room_token)];
        let fields: Vec<String> =
            fields.iter().map(|(key, value)| format!("{key}={}", percent_encoded(value))).collect();
        format!("{}#{}", self.url(), fields.join("&"))
    }
}

impl Drop for Console {
    fn drop(&mut self) {
        self.server.unblock();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The file that a request asks for, if it is one of the page's.
fn page(root: &Path, url: &str) -> Option<(File, Header)> {
    let path = url.split(['?', '#']).next()?.trim_start_matches('/');
    let path = PathBuf::from(if path.is_empty() { "index.html" } else { path });
    if !path.components().all(|part| matches!(part, Component::Normal(_))) {
        return None;
    }
    let kind = match path.extension()?.to_str()? {
        "html" => "text/html; charset=utf-8",
        "js" => "text/javascript",
        "css" => "text/css",
        "svg" => "image/svg+xml",
        _ => "application/octet-stream",
    };
    let file = root.join(path);
    let header = Header::from_bytes("Content-Type", kind).ok()?;
    fs::metadata(&file).ok()?.is_file().then_some(())?;
    Some((File::open(file).ok()?, header))
}

/// RFC 3986: everything but the unreserved characters.
fn percent_encoded(text: &str) -> String {
    let encoded = text.bytes().map(|byte| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
        other => format!("%{other:02X}"),
    });
    encoded.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_files_of_the_page_are_served() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("dist")).unwrap();
        fs::write(dir.path().join("dist/index.html"), "page").unwrap();
        fs::write(dir.path().join("secret.html"), "secret").unwrap();
        let root = dir.path().join("dist");
        assert!(page(&root, "/").is_some());
        assert!(page(&root, "/index.html?x=1").is_some());
        for url in ["/../secret.html", "/..%2fsecret.html", "//etc/passwd", "/absent.js", "/."] {
            assert!(page(&root, url).is_none(), "{url}");
        }
    }

    #[test]
    fn tokens_survive_the_link() {
        assert_eq!(percent_encoded("17,janus:a+b/c="), "17%2Cjanus%3Aa%2Bb%2Fc%3D");
    }
}
