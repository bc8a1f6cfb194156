//! The text that quickstart prints once it serves: the credentials, a first call and the next
//! steps.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::data_directory::DataDirectory;
use crate::secret::Secret;

/// The tenant that quickstart creates.
pub(super) const TENANT: &str = "default";

/// The values that the text contains.
pub(super) struct Banner<'a> {
    /// URL of the gateway for clients on this machine.
    pub url: String,
    /// The data directory.
    pub data: &'a DataDirectory,
    /// The first virtual key; `None` after the first run.
    pub key: Option<Secret>,
    /// The live providers.
    pub live: Vec<String>,
    /// Variables that would enable more providers.
    pub missing: Vec<String>,
    /// The name by which this program was run.
    pub program: String,
}

/// Returns the URL by which a client on this machine reaches a listener.
pub(super) fn url(listener: SocketAddr) -> String {
    let ip = match listener.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    format!("http://{}", SocketAddr::new(ip, listener.port()))
}

impl fmt::Display for Banner<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { url, data, key, live, missing, program } = self;
        let token_file = data.admin_token_file();
        let program = quoted(program);
        writeln!(f, "aigw serves at {url} and keeps its data in {}\n", data.directory.display())?;
        writeln!(f, "  tenant       {TENANT}")?;
        if let Some(key) = key {
            writeln!(f, "  virtual key  {}  (shown only once)", key.expose())?;
            writeln!(f, "  admin token  {}  (stored in {})\n", data.admin_token.expose(), token_file.display())?;
        } else {
            writeln!(f, "  virtual key  shown by an earlier run; create another as below")?;
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

/// Quotes a word for a shell.
fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-+:@%,=".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) { word.to_owned() } else { format!("'{}'", word.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text_and_token(key: Option<Secret>) -> (String, String) {
        let home = tempfile::tempdir().unwrap();
        let data = DataDirectory::open(home.path()).unwrap();
        let token = data.admin_token.expose().to_owned();
        let (live, missing) = (vec![String::from("simulator")], vec![String::from("OPENAI_API_KEY")]);
        let banner = Banner { url: url("0.0.0.0:80".parse().unwrap()), data: &data, key, live, missing, program: String::from("aigw") };
        (banner.to_string(), token)
    }

    #[test]
    fn the_first_run_shows_key_and_token_and_a_command_to_paste() {
        let (text, token) = text_and_token(Some(Secret::new("aigw-sk-x")));
        assert!(text.contains(&token));
        let curl = text.lines().find(|line| line.starts_with("curl ")).unwrap();
        assert!(curl.starts_with("curl http://127.0.0.1:80/v1/chat/completions -H \"authorization: Bearer aigw-sk-x\""));
    }

    #[test]
    fn a_later_run_shows_no_secret_and_how_to_create_another_key() {
        let (text, token) = text_and_token(None);
        assert!(!text.contains(&token));
        assert!(text.contains("aigw key create default"));
        assert!(text.contains("Bearer $AIGW_KEY"));
    }

    #[test]
    fn the_url_of_a_wildcard_listener_is_loopback() {
        assert_eq!(url("[::]:8080".parse().unwrap()), "http://[::1]:8080");
        assert_eq!(url("192.0.2.1:8080".parse().unwrap()), "http://192.0.2.1:8080");
    }

    #[test]
    fn a_path_with_spaces_is_quoted() {
        assert_eq!(quoted("aigw-data/admin-token"), "aigw-data/admin-token");
        assert_eq!(quoted("my data/it's"), r"'my data/it'\''s'");
    }
}
