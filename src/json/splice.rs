//! Changing a few members of a body and nothing else: every other byte goes out as it came in, after one copy.

use bytes::Bytes;

use super::Document;

/// One change to the top level of a [`Document`]. Changes apply in their order, each to what the one before left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Edit<'a> {
    /// Gives a member this value, a JSON text; adds the member if there is none.
    Set {
        /// Its name, unescaped.
        name: &'a str,
        /// JSON.
        value: &'a str,
    },
    /// Gives a member another name. A member that had that name before is removed, so that no name stands twice.
    Rename {
        /// Its name, unescaped.
        from: &'a str,
        /// Its new name.
        to: &'a str,
    },
    /// Removes a member, if it is there.
    Remove {
        /// Its name, unescaped.
        name: &'a str,
    },
}

/// What becomes of one member, or an addition.
struct Patch<'a> {
    /// Its place among the members; `None`: it is added.
    index: Option<usize>,
    name: Option<&'a str>,
    value: Option<&'a str>,
    removed: bool,
}

impl Document {
    /// The body with these changes: one allocation, all other bytes as they are. Without any effect it is the same `Bytes`.
    pub fn splice(&self, edits: &[Edit<'_>]) -> Bytes {
        let mut patches = self.patches(edits);
        if patches.is_empty() {
            return self.bytes.clone();
        }
        // Members in their order, additions behind them in theirs.
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
                // The comma before it goes along; of the first member that stays, the comma behind.
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

    /// The edits by member, those that change nothing left out.
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

    /// The patch of the member that now bears `name`, made if there is none yet; `None` if there is no such member.
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
