//! HTTPS, by a certificate that somebody else renews.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::Context as _;
use axum_server::Server;
use axum_server::accept::NoDelayAcceptor;
use axum_server::tls_rustls::{RustlsAcceptor, RustlsConfig};
use palinode_service::Config;
use rustls::crypto::aws_lc_rs;

/// How often the files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(30);

/// A certificate and its key, in files. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Certificate {
    files: Arc<(PathBuf, PathBuf)>,
    config: RustlsConfig,
}

impl Certificate {
    /// That of the settings, if they name one.
    ///
    /// # Errors
    /// The files cannot be read, or do not belong together.
    pub(crate) async fn of(config: &Config) -> anyhow::Result<Option<Self>> {
        let (Some(cert), Some(key)) = (&config.tls_cert, &config.tls_key) else {
            return Ok(None);
        };
        // there may be one already: of a test, or of another part of the process
        if aws_lc_rs::default_provider().install_default().is_err() {
            tracing::debug!("the process has its cryptography already");
        }
        let config = RustlsConfig::from_pem_file(cert, key).await;
        let config = config.with_context(|| {
            let (cert, key) = (cert.display(), key.display());
            format!("the certificate in {cert} with the key in {key} cannot be used")
        })?;
        Ok(Some(Self {
            files: Arc::new((cert.clone(), key.clone())),
            config,
        }))
    }

    async fn changed_at(&self) -> Option<SystemTime> {
        let metadata = tokio::fs::metadata(&self.files.0).await.ok()?;
        metadata.modified().ok()
    }

    /// Reads the files again whenever they have changed, for ever. What cannot be used is said, and the old
    /// certificate stays.
    pub(crate) async fn renew(self) {
        let mut known = self.changed_at().await;
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            let now = self.changed_at().await;
            if now == known {
                continue;
            }
            let (cert, key) = &*self.files;
            match self.config.reload_from_pem_file(cert, key).await {
                Ok(()) => {
                    tracing::info!(file = %cert.display(), "the certificate was read again");
                    known = now;
                }
                Err(error) => {
                    let file = cert.display();
                    tracing::error!(%error, %file, "the new certificate cannot be used, the old one stays");
                }
            }
        }
    }

    /// A server that shows it.
    pub(crate) fn server(
        self,
        listener: std::net::TcpListener,
    ) -> std::io::Result<Server<SocketAddr, RustlsAcceptor<NoDelayAcceptor>>> {
        let acceptor = RustlsAcceptor::new(self.config).acceptor(NoDelayAcceptor::new());
        Ok(axum_server::from_tcp(listener)?.acceptor(acceptor))
    }
}
