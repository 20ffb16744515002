//! What exists in one account alone: files, batches, stored responses and their like.
//!
//! A request that names a resource can be answered by the account that has it and by nobody
//! else. Whoever reads a request notes the [`Resource`]s that it names in its
//! [`Facts`](crate::facts::Facts); whoever watches an answer tells which were made.
//! [`Affinity`](crate::affinity::Affinity) remembers where they are.

use std::fmt;

use sha2::{Digest as _, Sha256};
use smallvec::SmallVec;

use crate::hex;

/// A resource, by its kind and the digest of its id. The id itself is not kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Resource {
    kind: ResourceKind,
    digest: [u8; 16],
}

/// Several resources; one needs no allocation.
pub type Resources = SmallVec<[Resource; 1]>;

impl Resource {
    /// The resource of this kind with this id.
    #[must_use]
    pub fn new(kind: ResourceKind, id: &str) -> Self {
        let mut digest = [0; 16];
        digest.copy_from_slice(&Sha256::digest(id)[..16]);
        Self { kind, digest }
    }

    /// What it is.
    #[must_use]
    pub const fn kind(self) -> ResourceKind {
        self.kind
    }
}

/// The kind and 8 hex digits of the digest of its id.
impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.kind)?;
        let [a, b, c, d, ..] = self.digest;
        hex::write(f, [a, b, c, d])
    }
}

/// What a resource is. Those that decide where a request belongs come first: of a request that
/// names several, the first whose owner is known decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum ResourceKind {
    /// A stored response, which a request goes on from.
    Response,
    /// A stored conversation.
    Conversation,
    /// Content that is cached on demand.
    CachedContent,
    /// A container in which code runs.
    Container,
    /// A batch of requests.
    Batch,
    /// A file in parts.
    Upload,
    /// A file.
    File,
    /// An index of files.
    VectorStore,
    /// A job that tunes a model.
    FineTuningJob,
    /// A tuned model.
    TunedModel,
    /// A skill.
    Skill,
    /// Something long that is under way.
    Operation,
}

impl ResourceKind {
    /// The name used in logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Response => "response",
            Self::Conversation => "conversation",
            Self::CachedContent => "cached content",
            Self::Container => "container",
            Self::Batch => "batch",
            Self::Upload => "upload",
            Self::File => "file",
            Self::VectorStore => "vector store",
            Self::FineTuningJob => "fine-tuning job",
            Self::TunedModel => "tuned model",
            Self::Skill => "skill",
            Self::Operation => "operation",
        }
    }
}

impl fmt::Display for ResourceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A resource that a request names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Named {
    /// Which.
    pub resource: Resource,
    /// What the request wants with it.
    pub role: Role,
}

impl Named {
    /// `resource`, named in this role.
    #[must_use]
    pub const fn new(resource: Resource, role: Role) -> Self {
        Self { resource, role }
    }
}

/// What a request wants with a resource that it names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Role {
    /// The request is about it: where it succeeds, there the resource is, and where it is not
    /// found, there it is no more.
    Subject,
    /// The request is about something that belongs to it: where it succeeds, there the resource
    /// is.
    Parent,
    /// The request makes use of it, or only seems to: an answer proves nothing.
    Mention,
}

/// What the answers of one request told of resources.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Learnt {
    /// Those that were made.
    pub(crate) made: Resources,
    /// The kind of those that the request names and the endpoint does not have.
    pub(crate) missing: Option<ResourceKind>,
}
