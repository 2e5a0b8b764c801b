//! Reads whole objects through delta chains, with a bounded cache of what it made.

use std::collections::{HashMap, VecDeque};
use std::rc::Rc;

use super::{READER_CACHE_BYTES, WalkError};
use crate::object::{HashAlgo, Kind, ObjectId};
use crate::pack::delta;
use crate::pack::entry;
use crate::pack::inflate::Inflater;
use crate::pack::limits::SCRATCH_BYTES_MAX;
use crate::source::{Base, ObjRef, ObjectSource, Record};

/// Reads objects of one repository. Not shared between threads; each walk has its own.
pub struct Reader<'a> {
    /// Where objects live.
    pub source: &'a dyn ObjectSource,
    algo: HashAlgo,
    inflater: Inflater,
    raw: Vec<u8>,
    cache: HashMap<ObjRef, Rc<Vec<u8>>>,
    order: VecDeque<ObjRef>,
    cached_bytes: usize,
    object_bytes_max: u64,
}

impl<'a> Reader<'a> {
    /// A reader with an empty cache.
    pub fn new(source: &'a dyn ObjectSource, algo: HashAlgo) -> Self {
        Self {
            source,
            algo,
            inflater: Inflater::new(),
            raw: Vec::new(),
            cache: HashMap::new(),
            order: VecDeque::new(),
            cached_bytes: 0,
            object_bytes_max: u64::MAX,
        }
    }

    /// Refuses to make objects of more than so many bytes, also as bases of the one that is asked for.
    pub fn limited(self, object_bytes_max: u64) -> Self {
        Self { object_bytes_max, ..self }
    }

    /// The hash function of the repository.
    pub fn algo(&self) -> HashAlgo {
        self.algo
    }

    /// The place of an object that the repository must have.
    pub fn find(&self, raw_id: &[u8]) -> Result<ObjRef, WalkError> {
        let id = ObjectId::from_bytes(self.algo, raw_id).expect("ids in parsed objects are whole");
        self.source.lookup(&id)?.ok_or(WalkError::Missing(id))
    }

    /// The whole bytes of an object, with its kind. While it is made, as many bytes are held up to three times: its base,
    /// its delta and itself.
    pub fn read(&mut self, at: ObjRef) -> Result<(Kind, Rc<Vec<u8>>), WalkError> {
        let record = self.source.record(at)?;
        let data = self.resolve(at, &record)?;
        Ok((record.kind, data))
    }

    fn resolve(&mut self, at: ObjRef, record: &Record) -> Result<Rc<Vec<u8>>, WalkError> {
        if let Some(data) = self.cache.get(&at) {
            return Ok(Rc::clone(data));
        }
        // Down the chain to a whole object or to one that the cache has, then back up.
        let mut chain = vec![(at, *record)];
        let mut data: Rc<Vec<u8>> = loop {
            let (here, top) = *chain.last().expect("starts with one and never shrinks here");
            if top.size > self.object_bytes_max {
                return Err(WalkError::TooLarge { bytes: top.size, max: self.object_bytes_max });
            }
            match top.base {
                Base::None => {
                    chain.pop();
                    let whole = Rc::new(self.inflate(here.source, &top)?);
                    self.keep(here, &whole);
                    break whole;
                }
                Base::Ofs(base) | Base::Ref(base) => match self.cache.get(&base) {
                    Some(data) => break Rc::clone(data),
                    None => chain.push((base, self.source.record(base)?)),
                },
            }
        };
        while let Some((here, record)) = chain.pop() {
            let instructions = self.inflate(here.source, &record)?;
            let mut out = Vec::new();
            delta::apply(&data, &instructions, &mut out, record.size).map_err(|e| corrupt(&record, e))?;
            data = Rc::new(out);
            self.keep(here, &data);
        }
        Ok(data)
    }

    /// Inflates the data of one entry: the object itself, or its delta instructions.
    fn inflate(&mut self, source: u16, record: &Record) -> Result<Vec<u8>, WalkError> {
        self.raw.resize(record.entry_bytes as usize, 0);
        self.source.pack_bytes(source, record.pack, record.offset, &mut self.raw)?;
        let header = entry::decode(self.algo, &self.raw)
            .map_err(|e| corrupt(record, e))?
            .ok_or_else(|| corrupt(record, "entry header is cut short"))?;
        let body = self.raw.get(header.header_bytes..).unwrap_or_default();
        let mut out = Vec::new();
        self.inflater.inflate(body, header.size, &mut out).map_err(|e| corrupt(record, e))?;
        if self.raw.capacity() > SCRATCH_BYTES_MAX {
            self.raw = Vec::new();
        }
        Ok(out)
    }

    fn keep(&mut self, at: ObjRef, data: &Rc<Vec<u8>>) {
        if data.len() > READER_CACHE_BYTES / 4 || self.cache.insert(at, Rc::clone(data)).is_some() {
            return;
        }
        self.order.push_back(at);
        self.cached_bytes += data.len() + 64;
        while self.cached_bytes > READER_CACHE_BYTES {
            let Some(oldest) = self.order.pop_front() else { break };
            if let Some(dropped) = self.cache.remove(&oldest) {
                self.cached_bytes -= dropped.len() + 64;
            }
        }
    }
}

fn corrupt(record: &Record, why: impl ToString) -> WalkError {
    WalkError::Corrupt { id: record.id, why: why.to_string() }
}
