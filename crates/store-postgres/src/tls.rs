//! TLS to the server.

use std::path::Path;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
};
use sessiond_store::{StoreError, StoreResult};
use tokio_postgres::config::SslMode;
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::Address;
use crate::address::{TlsSettings, Trust};

/// What makes TLS connections to this address.
pub(crate) fn connector(address: &Address) -> StoreResult<MakeRustlsConnect> {
    let settings = &address.tls;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = Verifier::new(address, provider.clone())?;
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| fault("choose a version of TLS", e))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
    let config = match &settings.own {
        None => config.with_no_client_auth(),
        Some((cert, key)) => {
            let chain = certificates(cert)?;
            let key = PrivateKeyDer::from_pem_file(key).map_err(|e| fault("read sslkey", e))?;
            let config = config.with_client_auth_cert(chain, key);
            config.map_err(|e| fault("use sslcert", e))?
        }
    };
    Ok(MakeRustlsConnect::new(config))
}

fn fault(
    operation: &'static str,
    error: impl std::error::Error + Send + Sync + 'static,
) -> StoreError {
    StoreError::Internal {
        operation,
        source: error.into(),
    }
}

fn certificates(path: &Path) -> StoreResult<Vec<CertificateDer<'static>>> {
    let certificates = CertificateDer::pem_file_iter(path).and_then(Iterator::collect);
    certificates.map_err(|e| fault("read certificates", e))
}

fn roots(settings: &TlsSettings) -> StoreResult<RootCertStore> {
    let mut roots = RootCertStore::empty();
    let given = match &settings.root {
        Some(path) => certificates(path)?,
        // Some of the system's may be unreadable; the others do.
        None => rustls_native_certs::load_native_certs().certs,
    };
    roots.add_parsable_certificates(given);
    Ok(roots)
}

/// Checks the server as far as `sslmode` asks for.
#[derive(Debug)]
struct Verifier {
    provider: Arc<CryptoProvider>,
    /// Checks the authority, and the name unless `any_name`.
    strict: Option<Arc<WebPkiServerVerifier>>,
    any_name: bool,
    /// What `sslrootcert` holds: a server may show one of these itself, signed by nobody else.
    named: Vec<CertificateDer<'static>>,
}

impl Verifier {
    fn new(address: &Address, provider: Arc<CryptoProvider>) -> StoreResult<Self> {
        let settings = &address.tls;
        let named = settings.root.as_deref().map(certificates).transpose()?;
        let plain = address.config.get_ssl_mode() == SslMode::Disable;
        let strict = match settings.trust {
            _ if plain => None,
            Trust::Anyone => None,
            Trust::Authority | Trust::Name => {
                let roots = Arc::new(roots(settings)?);
                let built =
                    WebPkiServerVerifier::builder_with_provider(roots, provider.clone()).build();
                Some(built.map_err(|e| fault("read the trusted authorities", e))?)
            }
        };
        Ok(Self {
            provider,
            strict,
            any_name: settings.trust == Trust::Authority,
            named: named.unwrap_or_default(),
        })
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let Some(strict) = &self.strict else {
            return Ok(ServerCertVerified::assertion());
        };
        if self.named.iter().any(|named| named == end_entity) {
            if !self.any_name {
                verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
            }
            return Ok(ServerCertVerified::assertion());
        }
        let checked =
            strict.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        match checked {
            // The name is looked at last, when all else is well.
            Err(rustls::Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) if self.any_name => Ok(ServerCertVerified::assertion()),
            checked => checked,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, cert, dss, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let algorithms = &self.provider.signature_verification_algorithms;
        algorithms.supported_schemes()
    }
}
