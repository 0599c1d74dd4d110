//! MQTT over TLS, as whoever has a client's certificate.

use crate::{Error, Result, tls::ClientIdentity};
use rumqttc::MqttOptions;
use std::{io, path::Path, sync::Arc, time::Duration};
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::{
    TlsConnector,
    rustls::{
        ClientConfig, RootCertStore,
        crypto::ring,
        pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
    },
};

/// How long a TLS handshake may take, as in the daemon.
const TLS: Duration = Duration::from_secs(5);

/// TLS with a client's certificate, to servers of an authority.
pub(crate) fn connector(ca: &Path, identity: &ClientIdentity) -> Result<TlsConnector> {
    Ok(TlsConnector::from(Arc::new(tls(ca, identity)?)))
}

/// Lets MQTT run over such a connection.
pub(crate) fn over(options: &mut MqttOptions, host: String, tls: TlsConnector) {
    options.set_socket_connector(move |address, _| {
        let (host, tls) = (host.clone(), tls.clone());
        async move {
            let name = ServerName::try_from(host).map_err(io::Error::other)?;
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            // Of a connection that the broker's queue had no room for, only this side knows: it must give up soon.
            match timeout(TLS, tls.connect(name, stream)).await {
                Ok(connected) => connected,
                Err(_) => Err(io::ErrorKind::TimedOut.into()),
            }
        }
    });
}

fn tls(ca: &Path, identity: &ClientIdentity) -> Result<ClientConfig> {
    let failed = |error: &dyn std::fmt::Display| Error::Other(format!("certificates of a simulated kiosk: {error}"));
    let mut roots = RootCertStore::empty();
    let authority = CertificateDer::from_pem_file(ca).map_err(|error| failed(&error))?;
    roots.add(authority).map_err(|error| failed(&error))?;
    let certificate = CertificateDer::from_pem_file(&identity.certificate).map_err(|error| failed(&error))?;
    let key = PrivateKeyDer::from_pem_file(&identity.key).map_err(|error| failed(&error))?;
    ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| failed(&error))?
        .with_root_certificates(roots)
        .with_client_auth_cert(vec![certificate], key)
        .map_err(|error| failed(&error))
}
