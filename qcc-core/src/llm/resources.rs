//! The resources that a request names: in its path, and in the fields of its body.

use std::ops::ControlFlow;

use memchr::memchr;
use memchr::memmem::Finder;
use smallvec::SmallVec;

use super::reader::{Manner, Reader, Result};
use crate::resource::{Named, Resource, ResourceKind, Role};

/// So many resources of one request are looked at.
const MOST: usize = 32;
/// The longest id that is taken for one.
const LONGEST: usize = 256;

/// The collections of all vendors, by their path behind the version.
const COLLECTIONS: [(&str, ResourceKind); 13] = [
    ("files", ResourceKind::File),
    ("uploads", ResourceKind::Upload),
    ("batches", ResourceKind::Batch),
    ("messages/batches", ResourceKind::Batch),
    ("responses", ResourceKind::Response),
    ("conversations", ResourceKind::Conversation),
    ("containers", ResourceKind::Container),
    ("vector_stores", ResourceKind::VectorStore),
    ("fine_tuning/jobs", ResourceKind::FineTuningJob),
    ("skills", ResourceKind::Skill),
    ("cachedContents", ResourceKind::CachedContent),
    ("tunedModels", ResourceKind::TunedModel),
    ("operations", ResourceKind::Operation),
];

/// What stands behind a collection and is no id.
const VERBS: [&str; 2] = ["compact", "input_tokens"];

/// What a path says of resources.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place<'a> {
    /// It is that of a collection: something sent there makes one.
    Collection(ResourceKind),
    /// It is that of one resource, or leads through it.
    Within {
        kind: ResourceKind,
        id: &'a str,
        role: Role,
    },
}

impl<'a> Place<'a> {
    /// The place that `path` leads to. Names of Gemini's resources (`files/abc`) are such paths.
    pub(super) fn of(path: &'a str) -> Option<Self> {
        let path = path.trim_matches('/');
        let path = path.strip_prefix("upload/").unwrap_or(path);
        let path = ["v1/", "v1beta/", "v1alpha/"]
            .into_iter()
            .find_map(|version| path.strip_prefix(version))
            .unwrap_or(path);
        // An operation stands below the model that it is done with.
        let path = match path.strip_prefix("models/") {
            Some(below) => below.split_once('/')?.1,
            None => path,
        };
        let (rest, kind) = COLLECTIONS.iter().find_map(|(name, kind)| {
            let rest = path.strip_prefix(name)?;
            (rest.is_empty() || rest.starts_with('/')).then_some((rest, *kind))
        })?;
        let rest = rest.trim_start_matches('/');
        if rest.is_empty() {
            return Some(Self::Collection(kind));
        }
        let (id, role) = match rest.split_once('/') {
            Some((id, _)) => (id, Role::Parent),
            None => (rest, Role::Subject),
        };
        // A verb of Gemini: `files/abc:download`.
        let (id, role) = match id.split_once(':') {
            Some((id, _)) => (id, Role::Parent),
            None => (id, role),
        };
        (is_id(id) && !VERBS.contains(&id)).then_some(Self::Within { kind, id, role })
    }

    /// The resource in it.
    pub(super) fn named(self) -> Option<Named> {
        match self {
            Self::Collection(_) => None,
            Self::Within { kind, id, role } => Some(Named::new(Resource::new(kind, id), role)),
        }
    }

    /// What an answer to a `GET` or a `POST` there may tell the id of.
    pub(super) fn makes(self, is_post: bool) -> Option<ResourceKind> {
        match self {
            Self::Collection(kind) if is_post => Some(kind),
            // A batch makes files, which are told when it has ended.
            Self::Within {
                kind: ResourceKind::Batch,
                role: Role::Subject,
                ..
            } => Some(ResourceKind::File),
            // An upload that is completed is a file.
            Self::Within {
                kind: ResourceKind::Upload,
                ..
            } if is_post => Some(ResourceKind::File),
            Self::Collection(_) | Self::Within { .. } => None,
        }
    }
}

/// The resource that a name of Gemini's means (`files/abc`, `cachedContents/abc`).
pub(super) fn of_name(name: &str) -> Option<Resource> {
    Some(Place::of(name)?.named()?.resource)
}

/// Whether `id` can be one.
pub(super) fn is_id(id: &str) -> bool {
    let graphic = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\');
    (1..=LONGEST).contains(&id.len()) && id.bytes().all(graphic)
}

/// The resources of one request, each once.
#[derive(Debug, Default)]
pub(super) struct Naming(SmallVec<[Named; 1]>);

impl Naming {
    pub(super) fn push(&mut self, named: Named) {
        let known = self.0.iter().any(|known| known.resource == named.resource);
        if !known && self.0.len() < MOST {
            self.0.push(named);
        }
    }

    pub(super) fn append(&mut self, others: Self) {
        others.0.into_iter().for_each(|named| self.push(named));
    }

    /// Notes that a field names a resource of this kind with this id.
    pub(super) fn mention(&mut self, kind: ResourceKind, id: Option<&str>) {
        if let Some(id) = id.filter(|id| is_id(id)) {
            self.push(Named::new(Resource::new(kind, id), Role::Mention));
        }
    }

    /// Notes that a field names a resource in Gemini's way.
    pub(super) fn mention_name(&mut self, name: Option<&str>) {
        if let Some(resource) = name.and_then(of_name) {
            self.push(Named::new(resource, Role::Mention));
        }
    }

    /// Notes the files that are named by the member which `json` begins with, if it is one that
    /// names files; in Gemini's dialect `by_address`.
    #[inline]
    pub(super) fn file(&mut self, json: &[u8], by_address: bool) {
        if json.starts_with(b"\"file") {
            self.file_or_other(json, by_address);
        }
    }

    fn file_or_other(&mut self, json: &[u8], by_address: bool) {
        let keys: &[&[u8]] = match by_address {
            true => &[b"\"fileUri", b"\"file_uri"],
            false => &[b"\"file_id"],
        };
        let Some(rest) = keys.iter().find_map(|key| json.strip_prefix(*key)) else {
            return;
        };
        let _ = listed(rest, |text| {
            let id = match by_address {
                true => text.rsplit_once("/files/").map(|(_, id)| id),
                false => Some(text),
            };
            self.mention(ResourceKind::File, id);
            match self.0.len() < MOST {
                true => ControlFlow::Continue(()),
                false => ControlFlow::Break(()),
            }
        });
    }

    /// Notes what the tools of a request name, as those of Responses do.
    pub(super) fn tools<'a, M: Manner<'a>>(&mut self, tools: &mut Reader<'a, M>) -> Result<()> {
        tools.elements(|tool| {
            let tool = tool.members(|value, name| match name {
                b"container" => {
                    self.mention(ResourceKind::Container, value.text()?.as_deref());
                    Ok(())
                }
                b"vector_store_ids" => value.elements(|id| {
                    self.mention(ResourceKind::VectorStore, id.text()?.as_deref());
                    Ok(())
                }),
                _ => value.skip(),
            });
            tool.map(drop)
        })
    }

    /// What was named, those that decide first in front.
    pub(super) fn into_inner(mut self) -> SmallVec<[Named; 1]> {
        self.0
            .sort_by_key(|named| (named.role, named.resource.kind()));
        self.0
    }
}

/// The texts under a key, anywhere in `json`: the one, or those of the array there. `key` is the
/// key with its first quote; the plural of it counts, too. Inside a text quotes are escaped, so
/// nothing that somebody wrote looks like a key.
pub(super) fn values(
    json: &[u8],
    key: &Finder<'_>,
    mut found: impl FnMut(&str) -> ControlFlow<()>,
) {
    let mut keys = key.find_iter(json);
    let _ = keys.try_for_each(|at| listed(&json[at + key.needle().len()..], &mut found));
}

/// The texts under a key, of which `json` is what follows it: the end of its plural and its last
/// quote, if it is the key, and its value.
fn listed(json: &[u8], mut found: impl FnMut(&str) -> ControlFlow<()>) -> ControlFlow<()> {
    let rest = json.strip_prefix(b"s").unwrap_or(json);
    let value = || {
        let rest = rest.strip_prefix(b"\"")?.trim_ascii_start();
        Some(rest.strip_prefix(b":")?.trim_ascii_start())
    };
    let Some(rest) = value() else {
        return ControlFlow::Continue(());
    };
    let (mut rest, is_list) = match rest.strip_prefix(b"[") {
        Some(list) => (list.trim_ascii_start(), true),
        None => (rest, false),
    };
    while let Some((text, after)) = text(rest) {
        found(text)?;
        let after = after.trim_ascii_start();
        match after.strip_prefix(b",") {
            Some(next) if is_list => rest = next.trim_ascii_start(),
            _ => break,
        }
    }
    ControlFlow::Continue(())
}

/// The text that `json` begins with, if that can be an id, and what stands behind it.
fn text(json: &[u8]) -> Option<(&str, &[u8])> {
    let rest = json.strip_prefix(b"\"")?;
    // Longer than an id, for those that stand at the end of an address.
    let end = memchr(b'"', &rest[..rest.len().min(8 * LONGEST)])?;
    let text = str::from_utf8(&rest[..end]).ok()?;
    (!text.contains('\\')).then_some((text, &rest[end + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::llm::reader::outline;
    use ResourceKind::{
        Batch, CachedContent, Container, Conversation, File, FineTuningJob, Operation, Response,
        TunedModel, Upload, VectorStore,
    };

    // AFF-19
    #[test]
    fn a_path_names_a_collection_or_what_is_in_it() {
        for (path, kind, id, role) in [
            ("/v1/files/file-1", File, "file-1", Role::Subject),
            ("/files/file-1/", File, "file-1", Role::Subject),
            ("/v1/files/file-1/content", File, "file-1", Role::Parent),
            ("/v1/uploads/u/parts", Upload, "u", Role::Parent),
            ("/v1/batches/b", Batch, "b", Role::Subject),
            ("/v1/messages/batches/b/results", Batch, "b", Role::Parent),
            ("/v1/responses/resp_1", Response, "resp_1", Role::Subject),
            (
                "/v1/responses/resp_1/cancel",
                Response,
                "resp_1",
                Role::Parent,
            ),
            (
                "/v1/conversations/c/items/i",
                Conversation,
                "c",
                Role::Parent,
            ),
            ("/v1/containers/c/files/f", Container, "c", Role::Parent),
            ("/v1/vector_stores/vs", VectorStore, "vs", Role::Subject),
            ("/v1/fine_tuning/jobs/j", FineTuningJob, "j", Role::Subject),
            ("/v1beta/files/f", File, "f", Role::Subject),
            ("/v1beta/files/f:download", File, "f", Role::Parent),
            (
                "/v1beta/cachedContents/c",
                CachedContent,
                "c",
                Role::Subject,
            ),
            (
                "/v1beta/tunedModels/t:generateContent",
                TunedModel,
                "t",
                Role::Parent,
            ),
            (
                "/v1beta/models/m/operations/o",
                Operation,
                "o",
                Role::Subject,
            ),
            ("/v1beta/operations/o", Operation, "o", Role::Subject),
        ] {
            let place = Place::Within { kind, id, role };
            assert_eq!(Place::of(path), Some(place), "{path}");
            assert!(place.named().is_some());
        }
        for (path, kind) in [
            ("/v1/files", File),
            ("/upload/v1beta/files", File),
            ("/v1/messages/batches", Batch),
            ("/v1/responses/", Response),
        ] {
            assert_eq!(Place::of(path), Some(Place::Collection(kind)), "{path}");
        }
        for path in [
            "/",
            "/v1/models",
            "/v1/models/gpt-x",
            "/v1/filesystem/x",
            "/v1/messages",
            "/v1/messages/count_tokens",
            "/v1/responses/compact",
            "/v1/responses/input_tokens",
            "/v1beta/models/m:generateContent",
            "/v1/files/a%20\u{e4}",
        ] {
            assert_eq!(Place::of(path), None, "{path}");
        }
    }

    /// The files that a document names, or a part of it.
    fn files_of(json: &str, by_address: bool) -> Naming {
        let mut naming = Naming::default();
        let _ = outline(
            json.as_bytes(),
            |string| naming.file(string, by_address),
            Reader::skip,
        );
        naming
    }

    fn files(json: &str) -> Vec<Resource> {
        files_of(json, false)
            .0
            .iter()
            .map(|named| named.resource)
            .collect()
    }

    // AFF-19
    #[test]
    fn a_file_is_found_wherever_its_key_stands_and_never_in_a_text() {
        assert_eq!(
            files(
                r#"{"messages":[{"content":[{"type":"document","source":{"type":"file",
                    "file_id" : "file_1"}}]}],"x":{"file_ids":["a", "b"],"file_id":null}}"#
            ),
            ["file_1", "a", "b"].map(|id| Resource::new(File, id))
        );
        for none in [
            r#"{"text":"say {\"file_id\":\"x\"}"}"#,
            r#"{"required":["file_id","file_ids"]}"#,
            r#"{"file_id":7,"file_ids":[],"file_id":{"a":"b"}}"#,
            r#"{"file_identity":"x"}"#,
            r#"{"file_id":"a\u0062"}"#,
            r#"{"file_id":"cut"#,
            r#"{"file_id"#,
        ] {
            assert_eq!(files(none), [], "{none}");
        }
    }

    // AFF-19
    #[test]
    fn so_many_resources_are_looked_at_and_no_more() {
        let ids: Vec<_> = (0..1000).map(|id| format!("\"f{id}\"")).collect();
        let mut naming = files_of(
            &format!("{{\"file_ids\":[{}],\"file_id\":\"late\"}}", ids.join(",")),
            false,
        );
        naming.mention(Response, Some(&"x".repeat(LONGEST + 1)));
        naming.mention(Response, Some("a b"));
        assert_eq!(naming.into_inner().len(), MOST);
    }

    // AFF-19
    #[test]
    fn what_decides_first_stands_in_front_and_nothing_stands_there_twice() {
        let mut naming = files_of(r#"{"file_id":"f","more":{"file_id":"f"}}"#, false);
        naming.append(files_of(
            r#"{"fileUri":"https://h.example/v1beta/files/g","file_uri":"gs://b/o"}"#,
            true,
        ));
        naming.mention(Response, Some("r"));
        naming.push(Named::new(Resource::new(Batch, "b"), Role::Subject));
        let kinds: Vec<_> = naming
            .into_inner()
            .iter()
            .map(|named| named.resource.kind())
            .collect();
        assert_eq!(kinds, [Batch, Response, File, File]);
    }
}
