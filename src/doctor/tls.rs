//! Looks at certificates: what a server presents here, whoever signed it, and the kiosk's own.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use kiosk_proto::check::tls::{self, Certificate};
use kiosk_proto::check::{Finding, Text};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use tokio_rustls::rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::{self, ClientConfig, DigitallySignedStruct, Error, SignatureScheme, crypto};
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;

use crate::dial::{self, Server};

const LOOK: Duration = Duration::from_secs(4);

/// Seconds since 1970.
fn now() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

fn read(der: &CertificateDer<'_>) -> Option<Certificate> {
    let (_, parsed) = X509Certificate::from_der(der).ok()?;
    Some(Certificate {
        subject: parsed.subject().to_string(),
        issuer: parsed.issuer().to_string(),
        begin: parsed.validity().not_before.timestamp(),
        end: parsed.validity().not_after.timestamp(),
    })
}

fn read_file(file: &Path) -> Result<Vec<Certificate>, String> {
    let all = CertificateDer::pem_file_iter(file).map_err(|error| format!("{}: {error}", file.display()))?;
    Ok(all.flatten().filter_map(|der| read(&der)).collect())
}

/// The kiosk's own certificate.
pub fn own(file: &Path) -> Finding {
    let all = read_file(file).and_then(|all| {
        let first = all.into_iter().next();
        first.ok_or_else(|| format!("{}: no certificate", file.display()))
    });
    tls::own(all.as_ref().map_err(Clone::clone), now())
}

/// What a server presents. It is only looked at: nothing is sent on this connection.
pub async fn server(id: &'static str, title: Text, server: &Server<'_>) -> Option<Finding> {
    let name = ServerName::try_from(server.host.to_owned()).ok()?;
    let authorities = server.ca_file.map(read_file).and_then(Result::ok).unwrap_or_default();
    let authorities: Vec<String> = authorities.into_iter().map(|authority| authority.subject).collect();
    let look = async {
        let provider = Arc::new(crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .ok()?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Anybody(provider)))
            .with_no_client_auth();
        let stream = dial::connect(&Server { tls: false, ..*server }).await.ok()?;
        let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await.ok()?;
        Some(stream.get_ref().1.peer_certificates()?.iter().filter_map(read).collect::<Vec<_>>())
    };
    let chain = timeout(LOOK, look).await.ok().flatten().unwrap_or_default();
    Some(tls::server(id, title, &chain, &authorities, now()))
}

/// Takes whoever answers, so that it can be said who it was. Only for looking: what is trusted goes through `dial`.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
