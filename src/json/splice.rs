//! Edits of top-level members. All other bytes stay as they are, after one copy.

use bytes::Bytes;

use super::document::Document;

/// One change to the top level of a [`Document`]. Changes apply in order, each to the result of the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Edit<'a> {
    /// Sets a member's value; adds the member if it is absent.
    Set {
        /// Unescaped name.
        name: &'a str,
        /// JSON text.
        value: &'a str,
    },
    /// Renames a member. A member that has the new name already is removed, so that no name is given twice.
    Rename {
        /// Unescaped name.
        from: &'a str,
        /// New name.
        to: &'a str,
    },
    /// Removes a member if it is present.
    Remove {
        /// Unescaped name.
        name: &'a str,
    },
}

/// Change to one member, or an addition.
struct Patch<'a> {
    /// Index of the member; `None` for an addition.
    index: Option<usize>,
    name: Option<&'a str>,
    value: Option<&'a str>,
    removed: bool,
}

impl Document {
    /// Returns the body with these changes, in one allocation. If they change nothing, it is the same `Bytes`.
    pub fn splice(&self, edits: &[Edit<'_>]) -> Bytes {
        let mut patches = self.patches(edits);
        if patches.is_empty() {
            return self.bytes.clone();
        }
        // Members in their order, then additions in theirs.
        patches.sort_by_key(|patch| patch.index.unwrap_or(usize::MAX));
        let grown: usize =
            patches.iter().map(|patch| patch.name.map_or(0, |name| name.len() * 6 + 4) + patch.value.map_or(0, str::len)).sum();
        let mut out = Vec::with_capacity(self.bytes.len() + grown);
        let (mut copied, mut removed) = (0, 0);
        let mut additions = Vec::new();
        for patch in &patches {
            let Some(index) = patch.index else {
                additions.push(patch);
                continue;
            };
            let member = &self.members[index];
            if patch.removed {
                // Its comma is removed too: the one before it, or the one after it if no member before it stays.
                let (from, to) = if removed < index {
                    (self.members[index - 1].value.end, member.value.end)
                } else {
                    (member.key.start, self.members.get(index + 1).map_or(member.value.end, |next| next.key.start))
                };
                out.extend_from_slice(&self.bytes[copied..from]);
                (copied, removed) = (to, removed + 1);
                continue;
            }
            if let Some(name) = patch.name {
                out.extend_from_slice(&self.bytes[copied..member.key.start]);
                push_key(&mut out, name);
                copied = member.key.end;
            }
            if let Some(value) = patch.value {
                out.extend_from_slice(&self.bytes[copied..member.value.start]);
                out.extend_from_slice(value.as_bytes());
                copied = member.value.end;
            }
        }
        let mut bare = removed == self.members.len();
        if !additions.is_empty() {
            let end = self.members.last().map(|last| last.value.end);
            let end = end.or_else(|| memchr::memchr(b'{', &self.bytes).map(|brace| brace + 1)).unwrap_or_default();
            out.extend_from_slice(&self.bytes[copied..end]);
            copied = end;
        }
        for patch in additions {
            if !std::mem::take(&mut bare) {
                out.push(b',');
            }
            push_key(&mut out, patch.name.unwrap_or_default());
            out.push(b':');
            out.extend_from_slice(patch.value.unwrap_or("null").as_bytes());
        }
        out.extend_from_slice(&self.bytes[copied..]);
        Bytes::from(out)
    }

    /// Returns the edits by member, without those that change nothing.
    fn patches<'a>(&self, edits: &[Edit<'a>]) -> Vec<Patch<'a>> {
        let mut patches: Vec<Patch<'a>> = Vec::with_capacity(edits.len());
        for edit in edits {
            match *edit {
                Edit::Set { name, value } => match self.patch(&mut patches, name) {
                    Some(patch) => patch.value = Some(value),
                    None => patches.push(Patch { index: None, name: Some(name), value: Some(value), removed: false }),
                },
                Edit::Rename { from, to } if from != to => {
                    if self.patch(&mut patches, from).is_some() {
                        self.remove(&mut patches, to);
                    }
                    if let Some(patch) = self.patch(&mut patches, from) {
                        patch.name = Some(to);
                    }
                }
                Edit::Rename { .. } => {}
                Edit::Remove { name } => self.remove(&mut patches, name),
            }
        }
        patches.retain(|patch| {
            let same = |value: &str| patch.index.is_some_and(|index| &self.bytes[self.members[index].value.clone()] == value.as_bytes());
            patch.removed || patch.name.is_some() || !patch.value.is_none_or(same)
        });
        patches
    }

    fn remove(&self, patches: &mut Vec<Patch<'_>>, name: &str) {
        if let Some(patch) = self.patch(patches, name) {
            patch.removed = true;
        }
        patches.retain(|patch| patch.index.is_some() || !patch.removed);
    }

    /// Returns the patch of the member whose name is now `name`, creating it if needed; `None` if there is no such member.
    fn patch<'p, 'a>(&self, patches: &'p mut Vec<Patch<'a>>, name: &str) -> Option<&'p mut Patch<'a>> {
        let index = self.find(name);
        let bears = |patch: &Patch<'_>| !patch.removed && patch.name.map_or(patch.index == index && index.is_some(), |now| now == name);
        if let Some(known) = patches.iter().position(bears) {
            return patches.get_mut(known);
        }
        let index = index.filter(|index| patches.iter().all(|patch| patch.index != Some(*index)))?;
        patches.push(Patch { index: Some(index), name: None, value: None, removed: false });
        patches.last_mut()
    }
}

fn push_key(out: &mut Vec<u8>, name: &str) {
    // Writing to memory cannot fail.
    let _ = serde_json::to_writer(out, name);
}
