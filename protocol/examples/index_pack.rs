//! Indexes a pack file, and says what that cost: `index_pack FILE [THREADS [CACHE_MIB]]`.

use std::fs::File;
use std::os::unix::fs::FileExt;

use cairn_protocol::object::{HashAlgo, Kind, ObjectId};
use cairn_protocol::pack::{IndexOptions, Known, LinksOnly, PackBytes, scan};
use cairn_protocol::source::SourceError;

struct OnDisk(File, u64);

impl PackBytes for OnDisk {
    fn len(&self) -> u64 {
        self.1
    }

    fn read_at(&self, at: u64, into: &mut [u8]) -> std::io::Result<()> {
        self.0.read_exact_at(into, at)
    }
}

/// Says that all blobs that a pack lacks are here: mirrors are often partial clones.
struct AllBlobs;

impl Known for AllBlobs {
    fn find(&self, _: &ObjectId) -> Result<Option<(Kind, Vec<u8>)>, SourceError> {
        Ok(None)
    }

    fn kinds(&self, ids: &[ObjectId]) -> Result<Vec<Option<Kind>>, SourceError> {
        Ok(vec![Some(Kind::Blob); ids.len()])
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let file = File::open(args.next().ok_or("index_pack FILE [THREADS [CACHE_MIB]]")?)?;
    let threads: usize = args.next().map_or(Ok(1), |arg| arg.parse())?;
    let cache_mib: u64 = args.next().map_or(Ok(16), |arg| arg.parse())?;
    let bytes = OnDisk(file.try_clone()?, file.metadata()?.len());
    let options = IndexOptions {
        algo: HashAlgo::Sha1,
        cache_bytes: cache_mib << 20,
        object_bytes_max: 512 << 20,
        objects_max: 10_000_000,
        fsck: true,
    };
    let scanned = scan(&bytes, &options, &mut |_, _| ())?;
    println!("scanned   {}", cost()?);
    let resolver = scanned.resolver(&bytes, &AllBlobs, &LinksOnly)?;
    println!("planted   {}", cost()?);
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(|| resolver.work())).collect();
        workers.into_iter().try_for_each(|worker| worker.join().expect("a worker does not panic"))
    })?;
    println!("resolved  {}", cost()?);
    let pack = resolver.finish()?;
    println!("finished  {}", cost()?);
    let (commits, tips) = (pack.commits().len(), pack.unreferred().count());
    println!("{} objects, {commits} commits, {} tags, {tips} named by none", pack.len(), pack.tags().len());
    Ok(())
}

/// CPU seconds so far and the largest resident size, as Linux tells them.
fn cost() -> Result<String, Box<dyn std::error::Error>> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    let ticks: Vec<f64> = after_name.split_whitespace().skip(11).take(2).flat_map(str::parse).collect();
    let status = std::fs::read_to_string("/proc/self/status")?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_default();
    let [user, system] = ticks.as_slice() else {
        return Err("no times in /proc/self/stat".into());
    };
    Ok(format!("user {:.2} s, system {:.2} s, peak{}", user / 100.0, system / 100.0, peak.replace('\t', " ")))
}
