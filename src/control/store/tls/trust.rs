//! Verification of server certificates: none (`require`), the chain (`verify-ca`), or chain and
//! host name (`verify-full`). As in libpq, `require` with a root certificate means `verify-ca`. The
//! roots are those of `sslrootcert`, or the public ones.

use std::path::Path;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

/// Extent of the verification.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verify {
    /// Nothing: protects from eavesdropping only.
    Nothing,
    /// The chain to a root.
    Chain,
    /// The chain, and the host name of the URL.
    Name,
}

#[derive(Debug)]
struct Verifier {
    verify: Verify,
    chain: Option<Arc<WebPkiServerVerifier>>,
    /// Certificates of `sslrootcert`: a self-signed server certificate is accepted if it is one of
    /// these.
    pinned: Vec<CertificateDer<'static>>,
    provider: Arc<CryptoProvider>,
}

/// The client configuration; `files` are `sslrootcert`, `sslcert` and `sslkey`.
///
/// # Errors
/// If a file cannot be used.
pub fn config(verify: Verify, files: [Option<String>; 3]) -> Result<ClientConfig, String> {
    let [root, certificate, key] = files;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let (verify, pinned, roots) = match root.as_deref() {
        None if verify == Verify::Nothing => (verify, Vec::new(), None),
        None => (verify, Vec::new(), Some(public_roots())),
        Some("system") => (Verify::Name, Vec::new(), Some(public_roots())),
        Some(file) => {
            let pinned = certificates("sslrootcert", file)?;
            let mut roots = RootCertStore::empty();
            roots.add_parsable_certificates(pinned.iter().cloned());
            (if verify == Verify::Nothing { Verify::Chain } else { verify }, pinned, Some(roots))
        }
    };
    let chain = match roots {
        None => None,
        Some(roots) => {
            let builder = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
            Some(builder.build().map_err(|error| format!("cannot use sslrootcert: {error}"))?)
        }
    };
    let verifier = Verifier { verify, chain, pinned, provider: Arc::clone(&provider) };
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
    let mut config = match (certificate, key) {
        (None, None) => builder.with_no_client_auth(),
        (Some(certificate), Some(key)) => {
            let private = PrivateKeyDer::from_pem_file(&key).map_err(|error| format!("cannot read sslkey {key}: {error}"))?;
            builder
                .with_client_auth_cert(certificates("sslcert", &certificate)?, private)
                .map_err(|error| format!("cannot use sslcert {certificate} with sslkey {key}: {error}"))?
        }
        _ => return Err("sslcert and sslkey must be set together in database.url".to_owned()),
    };
    config.alpn_protocols = vec![b"postgresql".to_vec()];
    Ok(config)
}

fn public_roots() -> RootCertStore {
    RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() }
}

fn certificates(parameter: &str, file: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let unreadable = |error: &dyn std::fmt::Display| format!("cannot read {parameter} {file}: {error}");
    let found: Result<Vec<_>, _> = CertificateDer::pem_file_iter(Path::new(file)).map_err(|error| unreadable(&error))?.collect();
    match found {
        Ok(certificates) if certificates.is_empty() => Err(unreadable(&"it contains no PEM certificate")),
        found => found.map_err(|error| unreadable(&error)),
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let Some(chain) = &self.chain else { return Ok(ServerCertVerified::assertion()) };
        if self.pinned.iter().any(|pinned| pinned == end_entity) {
            if self.verify == Verify::Name {
                rustls::client::verify_server_name(&ParsedCertificate::try_from(end_entity)?, name)?;
            }
            return Ok(ServerCertVerified::assertion());
        }
        match chain.verify_server_cert(end_entity, intermediates, name, ocsp, now) {
            // The name is checked last, after the chain was verified.
            Err(Error::InvalidCertificate(CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. }))
                if self.verify == Verify::Chain =>
            {
                Ok(ServerCertVerified::assertion())
            }
            verified => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
