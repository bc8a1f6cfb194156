//! The SSRF guard's rules: which upstream URLs and addresses aigw may reach (spec/security.md section 2). Pure: no DNS, no sockets.
