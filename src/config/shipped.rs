//! The configuration files that are compiled into the program.

/// Returns name and text of each shipped file, `aigw.toml` first.
pub fn shipped() -> &'static [(&'static str, &'static str)] {
    macro_rules! files {
        ($($name:literal),+ $(,)?) => {
            &[$(($name, include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/", $name)))),+]
        };
    }
    files![
        "config/aigw.toml",
        "config/providers/anthropic.toml",
        "config/providers/azure.toml",
        "config/providers/deepseek.toml",
        "config/providers/fireworks.toml",
        "config/providers/gemini.toml",
        "config/providers/groq.toml",
        "config/providers/mistral.toml",
        "config/providers/ollama.toml",
        "config/providers/openai.toml",
        "config/providers/openrouter.toml",
        "config/providers/simulator.toml",
        "config/providers/together.toml",
        "config/providers/vllm.toml",
        "config/providers/xai.toml",
    ]
}
