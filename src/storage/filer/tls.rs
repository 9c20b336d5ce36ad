//! https with a filer: whom to trust, and who we are. Made once, at the start of the filer backend; certificates are read only
//! where an address is one of https.

use std::{error::Error, fs, io, path::Path, sync::Arc, time::Duration};

use rustls::{
    AlertDescription, CertificateError, ClientConfig, RootCertStore,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, ring},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject},
};
use tonic::transport::{ClientTlsConfig, Endpoint, Identity};

use super::error::{FilerError, describe};
use crate::config::FilerSettings;

/// What HTTP and gRPC with a filer have in common.
pub(super) struct Tls {
    http: ClientConfig,
    /// None: nobody speaks https.
    grpc: Option<(ClientTlsConfig, Arc<dyn ServerCertVerifier>)>,
}

impl Tls {
    /// [`FilerError::Setup`] names the setting that is wrong.
    pub(super) fn new(settings: &FilerSettings) -> Result<Self, FilerError> {
        let provider = Arc::new(ring::default_provider());
        if !settings.is_secure() {
            // reqwest wants one all the same; with nobody to trust it costs nothing.
            let nobody = builder(&provider)?.with_root_certificates(RootCertStore::empty()).with_no_client_auth();
            return Ok(Self { http: nobody, grpc: None });
        }
        let verifier = verifier(settings, &provider)?;
        let trusting = builder(&provider)?.dangerous().with_custom_certificate_verifier(Arc::clone(&verifier));
        let mut grpc = ClientTlsConfig::new().timeout(HANDSHAKE_TIMEOUT_MAX.min(settings.timeout));
        let mut http = match &settings.tls_identity {
            None => trusting.with_no_client_auth(),
            Some((certificate_path, key_path)) => {
                let (certificate, key) = (read(CERTIFICATE, certificate_path)?, read(KEY, key_path)?);
                grpc = grpc.identity(Identity::from_pem(&certificate, &key));
                let chain = certificates(CERTIFICATE, certificate_path, &certificate)?;
                let key = PrivateKeyDer::from_pem_slice(&key).map_err(|error| wrong(KEY, key_path, &error))?;
                let config = trusting.with_client_auth_cert(chain, key);
                config
                    .map_err(|error| wrong(KEY, key_path, &format!("with {}: {error}", certificate_path.display())))?
            }
        };
        http.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self { http, grpc: Some((grpc, verifier)) })
    }

    /// For reqwest.
    pub(super) fn http(&self) -> ClientConfig {
        self.http.clone()
    }

    /// The endpoint with TLS, if it is one of https.
    pub(super) fn grpc(&self, endpoint: Endpoint) -> Result<Endpoint, FilerError> {
        match &self.grpc {
            Some((config, verifier)) if endpoint.uri().scheme_str() == Some("https") => endpoint
                .tls_config_with_verifier(config.clone(), Arc::clone(verifier))
                .map_err(|error| FilerError::Setup(describe(&error))),
            _ => Ok(endpoint),
        }
    }
}

/// What an operator can do about an error of TLS that is among the causes of `error`.
pub(super) fn hint(error: &(dyn Error + 'static)) -> Option<&'static str> {
    match cause(error)? {
        rustls::Error::InvalidCertificate(error) => match error {
            CertificateError::UnknownIssuer | CertificateError::BadSignature => {
                Some("filer.tls.ca must hold the certificate of whoever signed the filer's")
            }
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                Some("it is of another host; filer.tls.check-host = false takes it all the same")
            }
            _ => None,
        },
        rustls::Error::AlertReceived(
            AlertDescription::CertificateRequired
            | AlertDescription::BadCertificate
            | AlertDescription::UnknownCA
            | AlertDescription::HandshakeFailure,
        ) => Some("the filer wants a certificate that it trusts: filer.tls.certificate and filer.tls.key"),
        rustls::Error::InvalidMessage(_) => Some("it speaks no https there"),
        _ => None,
    }
}

fn cause<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a rustls::Error> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        // The source of one is that of what it wraps, and not what it wraps.
        next = match error.downcast_ref::<io::Error>() {
            Some(error) => error.get_ref().map(|inner| inner as &(dyn Error + 'static)),
            None => error.source(),
        };
    }
    None
}

fn builder(
    provider: &Arc<CryptoProvider>,
) -> Result<rustls::ConfigBuilder<ClientConfig, rustls::WantsVerifier>, FilerError> {
    ClientConfig::builder_with_provider(Arc::clone(provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| FilerError::Setup(format!("https cannot be had: {error}")))
}

fn verifier(
    settings: &FilerSettings,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ServerCertVerifier>, FilerError> {
    let mut roots = RootCertStore::empty();
    match &settings.tls_ca {
        Some(path) => {
            for certificate in certificates(CA, path, &read(CA, path)?)? {
                roots.add(certificate).map_err(|error| wrong(CA, path, &error))?;
            }
        }
        // Some of a system's may be too odd for rustls; those who rely on them hear it when they connect.
        None => drop(roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs)),
    }
    if roots.is_empty() {
        let reason = "this system trusts nobody; filer.tls.ca must say who may sign the filer's certificate";
        return Err(FilerError::Setup(reason.to_owned()));
    }
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider)).build();
    let verifier = verifier.map_err(|error| FilerError::Setup(format!("{CA}: {error}")))?;
    Ok(match settings.tls_checks_host {
        true => verifier,
        false => Arc::new(OfAnyHost(verifier)),
    })
}

/// At least one.
fn certificates(setting: &str, path: &Path, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, FilerError> {
    let parsed: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match parsed {
        Ok(certificates) if certificates.is_empty() => Err(wrong(setting, path, &"it holds no certificate (PEM)")),
        Ok(certificates) => Ok(certificates),
        Err(error) => Err(wrong(setting, path, &error)),
    }
}

fn read(setting: &str, path: &Path) -> Result<Vec<u8>, FilerError> {
    fs::read(path).map_err(|error| wrong(setting, path, &error))
}

fn wrong(setting: &str, path: &Path, reason: &dyn std::fmt::Display) -> FilerError {
    FilerError::Setup(format!("{setting}: {}: {reason}", path.display()))
}

/// Takes a certificate of whatever host, if somebody whom we trust has signed it.
#[derive(Debug)]
struct OfAnyHost(Arc<WebPkiServerVerifier>);

impl ServerCertVerifier for OfAnyHost {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        // The name comes last: everything else is right when that is what is wrong.
        match self.0.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now) {
            Err(rustls::Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            outcome => outcome,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &rustls::DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &rustls::DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}

const CA: &str = "filer.tls.ca";
const CERTIFICATE: &str = "filer.tls.certificate";
const KEY: &str = "filer.tls.key";
const HANDSHAKE_TIMEOUT_MAX: Duration = Duration::from_secs(2);
