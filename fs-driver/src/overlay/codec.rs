//! The bytes of journal records: a tag, then fields, integers in little endian, byte strings behind their length.

use std::collections::BTreeMap;

use cairn_protocol::object::{HashAlgo, ObjectId};

use super::{Facts, Kind, Meta, Name, Op, Stamp};

pub(super) fn encode(op: &Op, out: &mut Vec<u8>) {
    match op {
        Op::Put(ino, facts) => {
            out.push(1);
            out.extend(ino.to_le_bytes());
            put_facts(facts, out);
        }
        Op::Link { parent, name, ino, at } => {
            out.push(2);
            out.extend(parent.to_le_bytes());
            put_bytes(name, out);
            out.extend(ino.to_le_bytes());
            put_maybe(*at, out);
        }
        Op::Unlink { parent, name, white, at } => {
            out.push(if *white { 3 } else { 4 });
            out.extend(parent.to_le_bytes());
            put_bytes(name, out);
            put_maybe(*at, out);
        }
        Op::Dirty(ino) => {
            out.push(5);
            out.extend(ino.to_le_bytes());
        }
        Op::Meta(meta) => {
            out.push(6);
            out.extend(meta.generation.to_le_bytes());
            put_id(&meta.root, out);
            out.extend(meta.key[0].to_le_bytes());
            out.extend(meta.key[1].to_le_bytes());
            put_stamp(meta.commit_time, out);
        }
        Op::End => out.push(7),
    }
}

fn put_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    out.extend((bytes.len() as u32).to_le_bytes());
    out.extend(bytes);
}

fn put_stamp(at: Stamp, out: &mut Vec<u8>) {
    out.extend(at.secs.to_le_bytes());
    out.extend(at.nanos.to_le_bytes());
}

fn put_maybe(at: Option<Stamp>, out: &mut Vec<u8>) {
    out.push(u8::from(at.is_some()));
    if let Some(at) = at {
        put_stamp(at, out);
    }
}

fn put_id(id: &ObjectId, out: &mut Vec<u8>) {
    out.push(id.algo().bytes() as u8);
    out.extend(id.as_bytes());
}

fn put_facts(facts: &Facts, out: &mut Vec<u8>) {
    match &facts.kind {
        Kind::Base(id) => {
            out.push(1);
            put_id(id, out);
        }
        Kind::Upper => out.push(2),
        Kind::BaseLink(id) => {
            out.push(3);
            put_id(id, out);
        }
        Kind::Link(target) => {
            out.push(4);
            put_bytes(target, out);
        }
        Kind::Dir(Some(id)) => {
            out.push(5);
            put_id(id, out);
        }
        Kind::Dir(None) => out.push(6),
        Kind::Fifo => out.push(7),
        Kind::Socket => out.push(8),
        Kind::Block(device) => {
            out.push(9);
            out.extend(device.to_le_bytes());
        }
        Kind::Char(device) => {
            out.push(10);
            out.extend(device.to_le_bytes());
        }
    }
    for number in [facts.mode, facts.uid, facts.gid] {
        out.extend(number.to_le_bytes());
    }
    for at in [facts.atime, facts.mtime, facts.ctime] {
        put_stamp(at, out);
    }
    out.extend((facts.xattrs.len() as u32).to_le_bytes());
    for (name, value) in &facts.xattrs {
        put_bytes(name, out);
        put_bytes(value, out);
    }
}

/// Reads records; `None` where the bytes are none.
pub(super) struct Reader<'a>(pub &'a [u8]);

impl Reader<'_> {
    pub(super) fn op(&mut self) -> Option<Op> {
        Some(match self.byte()? {
            1 => Op::Put(self.u64()?, self.facts()?),
            2 => {
                let (parent, name) = (self.u64()?, self.bytes()?);
                Op::Link { parent, name, ino: self.u64()?, at: self.maybe()? }
            }
            tag @ (3 | 4) => {
                let (parent, name) = (self.u64()?, self.bytes()?);
                Op::Unlink { parent, name, white: tag == 3, at: self.maybe()? }
            }
            5 => Op::Dirty(self.u64()?),
            6 => {
                let (generation, root) = (self.u64()?, self.id()?);
                let key = [self.u64()?, self.u64()?];
                Op::Meta(Meta { generation, root, key, commit_time: self.stamp()? })
            }
            7 => Op::End,
            _ => return None,
        })
    }

    fn take(&mut self, len: usize) -> Option<&[u8]> {
        let (taken, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(taken)
    }

    fn byte(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    fn u32(&mut self) -> Option<u32> {
        Some(u32::from_le_bytes(self.take(4)?.try_into().ok()?))
    }

    fn u64(&mut self) -> Option<u64> {
        Some(u64::from_le_bytes(self.take(8)?.try_into().ok()?))
    }

    fn bytes(&mut self) -> Option<Name> {
        let len = self.u32()? as usize;
        Some(self.take(len)?.into())
    }

    fn stamp(&mut self) -> Option<Stamp> {
        Some(Stamp { secs: self.u64()? as i64, nanos: self.u32()? })
    }

    fn maybe(&mut self) -> Option<Option<Stamp>> {
        match self.byte()? {
            0 => Some(None),
            1 => Some(Some(self.stamp()?)),
            _ => None,
        }
    }

    fn id(&mut self) -> Option<ObjectId> {
        let algo = match self.byte()? {
            20 => HashAlgo::Sha1,
            32 => HashAlgo::Sha256,
            _ => return None,
        };
        ObjectId::from_bytes(algo, self.take(algo.bytes())?)
    }

    fn facts(&mut self) -> Option<Facts> {
        let kind = match self.byte()? {
            1 => Kind::Base(self.id()?),
            2 => Kind::Upper,
            3 => Kind::BaseLink(self.id()?),
            4 => Kind::Link(self.bytes()?),
            5 => Kind::Dir(Some(self.id()?)),
            6 => Kind::Dir(None),
            7 => Kind::Fifo,
            8 => Kind::Socket,
            9 => Kind::Block(self.u32()?),
            10 => Kind::Char(self.u32()?),
            _ => return None,
        };
        let (mode, uid, gid) = (self.u32()?, self.u32()?, self.u32()?);
        let (atime, mtime, ctime) = (self.stamp()?, self.stamp()?, self.stamp()?);
        let mut xattrs = BTreeMap::new();
        for _ in 0..self.u32()? {
            xattrs.insert(self.bytes()?, self.bytes()?);
        }
        Some(Facts { kind, mode, uid, gid, atime, mtime, ctime, xattrs })
    }
}
