//! The vendors whose keys are found in the environment.

use qcc_core::endpoint::Api;

use super::Environment;

/// A vendor.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Vendor {
    /// The variable that its own clients read the key from.
    pub(crate) variable: &'static str,
    /// What a cluster of its own is called.
    pub(crate) cluster: &'static str,
    /// Its address.
    pub(crate) base_url: &'static str,
    /// Its API.
    pub(crate) api: Api,
}

impl Vendor {
    /// All of them.
    pub(crate) const ALL: [Self; 3] = [
        Self {
            variable: "ANTHROPIC_API_KEY",
            cluster: "claude",
            base_url: "https://api.anthropic.com",
            api: Api::Anthropic,
        },
        Self {
            variable: "OPENAI_API_KEY",
            cluster: "openai",
            base_url: "https://api.openai.com",
            api: Api::OpenAi,
        },
        Self {
            variable: "GEMINI_API_KEY",
            cluster: "gemini",
            base_url: "https://generativelanguage.googleapis.com",
            api: Api::Gemini,
        },
    ];

    /// Its key, if the environment has one.
    pub(super) fn key(self, environment: &Environment) -> Option<&str> {
        let key = environment.get(self.variable)?.trim();
        (!key.is_empty()).then_some(key)
    }
}
