//! What a trial says once it serves: what was made, a line to paste, where to go on.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::TENANT;
use super::state::State;
use crate::secret::Secret;

/// All that it depends on.
pub(super) struct Welcome<'a> {
    /// Where a client reaches the gateway.
    pub url: String,
    /// Where the state is.
    pub state: &'a State,
    /// The first virtual key, at the first run.
    pub key: Option<Secret>,
    /// The brokered providers that are live.
    pub live: Vec<String>,
    /// Variables that would bring in more.
    pub missing: Vec<String>,
    /// How this program was called.
    pub program: String,
}

/// How a client on this machine reaches a listener.
pub(super) fn url(listener: SocketAddr) -> String {
    let ip = match listener.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    format!("http://{}", SocketAddr::new(ip, listener.port()))
}

impl fmt::Display for Welcome<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { url, state, key, live, missing, program } = self;
        let token_file = state.admin_token_file();
        let program = quoted(program);
        writeln!(f, "aigw serves at {url} and keeps its state in {}\n", state.directory.display())?;
        writeln!(f, "  tenant       {TENANT}")?;
        if let Some(key) = key {
            writeln!(f, "  virtual key  {}  (shown this once)", key.expose())?;
            writeln!(f, "  admin token  {}  (kept in {})\n", state.admin_token.expose(), token_file.display())?;
        } else {
            writeln!(f, "  virtual key  the one an earlier run showed; another: see below")?;
            writeln!(f, "  admin token  in {}\n", token_file.display())?;
        }
        writeln!(f, "  providers    {}", if live.is_empty() { String::from("none") } else { live.join(", ") })?;
        if !missing.is_empty() {
            writeln!(f, "  add more     set {} and start again", missing.join(", "))?;
        }
        let bearer = key.as_ref().map_or("$AIGW_KEY", Secret::expose);
        writeln!(f, "\nA first call:\n")?;
        writeln!(
            f,
            "curl {url}/v1/chat/completions -H \"authorization: Bearer {bearer}\" -H 'content-type: application/json' \
             -d '{{\"model\": \"sim-echo\", \"messages\": [{{\"role\": \"user\", \"content\": \"Hello, aigw\"}}]}}'"
        )?;
        writeln!(f, "\nThe admin API from another shell:\n")?;
        writeln!(f, "export AIGW_URL={url} AIGW_ADMIN_TOKEN=\"$(cat {})\"", quoted(&token_file.display().to_string()))?;
        writeln!(f, "{program} ledger list")?;
        writeln!(f, "{program} key create {TENANT} --name another")?;
        writeln!(f, "\nCtrl-C stops it.")
    }
}

/// A word as a shell takes it literally.
fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-+:@%,=".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) { word.to_owned() } else { format!("'{}'", word.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(key: Option<Secret>) -> (String, String) {
        let home = tempfile::tempdir().unwrap();
        let state = State::open(home.path()).unwrap();
        let token = state.admin_token.expose().to_owned();
        let (live, missing) = (vec![String::from("simulator")], vec![String::from("OPENAI_API_KEY")]);
        let welcome = Welcome { url: url("0.0.0.0:80".parse().unwrap()), state: &state, key, live, missing, program: String::from("aigw") };
        (welcome.to_string(), token)
    }

    #[test]
    fn the_first_run_shows_key_and_token_and_a_line_to_paste() {
        let (text, token) = said(Some(Secret::new("aigw-sk-x")));
        assert!(text.contains(&token));
        let curl = text.lines().find(|line| line.starts_with("curl ")).unwrap();
        assert!(curl.starts_with("curl http://127.0.0.1:80/v1/chat/completions -H \"authorization: Bearer aigw-sk-x\""));
    }

    #[test]
    fn a_later_run_shows_no_secret_and_says_how_to_make_another_key() {
        let (text, token) = said(None);
        assert!(!text.contains(&token));
        assert!(text.contains("aigw key create default"));
        assert!(text.contains("Bearer $AIGW_KEY"));
    }

    #[test]
    fn a_listener_on_every_address_is_reached_on_loopback() {
        assert_eq!(url("[::]:8080".parse().unwrap()), "http://[::1]:8080");
        assert_eq!(url("192.0.2.1:8080".parse().unwrap()), "http://192.0.2.1:8080");
    }

    #[test]
    fn a_path_with_spaces_survives_the_shell() {
        assert_eq!(quoted("aigw-data/admin-token"), "aigw-data/admin-token");
        assert_eq!(quoted("my data/it's"), r"'my data/it'\''s'");
    }
}
