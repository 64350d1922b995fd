//! Argon2 over memory that is mapped for one hash and given back.
//!
//! An allocator keeps a freed block of 19 MiB for later; a server that idles in 8 MiB cannot afford that. So
//! each hash maps anonymous memory and unmaps it.

use argon2::{Algorithm, Argon2, Block, Params, Version};
use aws_lc_rs::rand;
use base64ct::{Base64Unpadded, Encoding};
use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous, munmap};

use super::StoredHash;

/// Most memory a stored hash may ask for, in KiB: 1 GiB.
const MEMORY_KIB_MAX: u32 = 1 << 20;

/// OWASP's first choice for argon2id: 19 MiB, two passes, one lane.
const OURS: (u32, u32, u32) = (19 * 1024, 2, 1);

/// A stored argon2 hash: `$argon2id$v=19$m=19456,t=2,p=1$salt$hash`.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct ArgonHash {
    algorithm: Algorithm,
    version: Version,
    params: Params,
    salt: Vec<u8>,
    hash: Vec<u8>,
}

impl ArgonHash {
    /// Reads the PHC string; the error says what is wrong with it.
    pub(super) fn parse(text: &str) -> Result<Self, &'static str> {
        let mut fields = text.strip_prefix('$').ok_or("it does not begin with `$argon2`")?.split('$');
        let algorithm = match fields.next() {
            Some("argon2id") => Algorithm::Argon2id,
            Some("argon2i") => Algorithm::Argon2i,
            Some("argon2d") => Algorithm::Argon2d,
            Some(_) | None => return Err("it does not begin with `$argon2`"),
        };
        let mut field = fields.next().ok_or("its parameters are missing")?;
        let version = match field.strip_prefix("v=") {
            None => Version::V0x10,
            Some(version) => {
                field = fields.next().ok_or("its parameters are missing")?;
                match version {
                    "19" => Version::V0x13,
                    "16" => Version::V0x10,
                    _ => return Err("its version is not known"),
                }
            }
        };
        let (mut m, mut t, mut p) = (None, None, None);
        for parameter in field.split(',') {
            let (name, value) = parameter.split_once('=').ok_or("its parameters are not `m=,t=,p=`")?;
            let value = Some(value.parse::<u32>().map_err(|_| "a parameter is not a number")?);
            match name {
                "m" => m = value,
                "t" => t = value,
                "p" => p = value,
                _ => return Err("a parameter is not known"),
            }
        }
        let (Some(m), Some(t), Some(p)) = (m, t, p) else { return Err("its parameters are not `m=,t=,p=`") };
        if m > MEMORY_KIB_MAX {
            return Err("it asks for more than 1 GiB of memory");
        }
        let mut decode =
            |missing| Base64Unpadded::decode_vec(fields.next().unwrap_or_default()).map_err(|_| missing);
        let salt = decode("its salt is not base64")?;
        let hash = decode("its hash is not base64")?;
        if fields.next().is_some() || salt.len() < argon2::MIN_SALT_LEN || hash.len() < 4 {
            return Err("it is cut short or too long");
        }
        let params = Params::new(m, t, p, Some(hash.len())).map_err(|_| "its parameters are out of range")?;
        Ok(Self { algorithm, version, params, salt, hash })
    }

    /// Algorithm and parameters.
    pub(super) fn cost(&self) -> String {
        let (m, t, p) = (self.params.m_cost(), self.params.t_cost(), self.params.p_cost());
        format!("{} m={m},t={t},p={p}", self.algorithm.as_str())
    }

    pub(super) fn is_argon2id(&self) -> bool {
        self.algorithm == Algorithm::Argon2id
    }

    pub(super) fn is_argon2i(&self) -> bool {
        self.algorithm == Algorithm::Argon2i
    }

    pub(super) fn verify(&self, password: &[u8]) -> bool {
        let argon = Argon2::new(self.algorithm, self.version, self.params.clone());
        let computed = compute(&argon, password, &self.salt, self.hash.len());
        computed
            .is_some_and(|hash| aws_lc_rs::constant_time::verify_slices_are_equal(&hash, &self.hash).is_ok())
    }
}

/// `{ARGON2ID}$argon2id$…` of a new password.
pub(super) fn hash_new(password: &[u8]) -> String {
    let (m, t, p) = OURS;
    let params = Params::new(m, t, p, Some(32)).expect("constants in range");
    let argon = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    let mut salt = [0; 16];
    rand::fill(&mut salt).expect("the kernel's random source has no failure once the system is up");
    let hash =
        compute(&argon, password, &salt, 32).expect("20 MiB can be mapped and the lengths are in range");
    let (salt, hash) = (Base64Unpadded::encode_string(&salt), Base64Unpadded::encode_string(&hash));
    format!("{{ARGON2ID}}$argon2id$v=19$m={m},t={t},p={p}${salt}${hash}")
}

/// A hash of no password, as dear to compare as one of ours.
pub(super) fn decoy() -> StoredHash {
    let (m, t, p) = OURS;
    let params = Params::new(m, t, p, Some(32)).expect("constants in range");
    let (algorithm, version) = (Algorithm::Argon2id, Version::V0x13);
    ArgonHash { algorithm, version, params, salt: vec![0; 16], hash: vec![0; 32] }.into()
}

/// `None` when the memory cannot be had.
fn compute(argon: &Argon2<'_>, password: &[u8], salt: &[u8], length: usize) -> Option<Vec<u8>> {
    let mut out = vec![0; length];
    let memory = Mapped::new(argon.params().block_count())?;
    argon.hash_password_into_with_memory(password, salt, &mut out, memory).ok()?;
    Some(out)
}

/// Zeroed blocks in a mapping of their own.
struct Mapped {
    start: *mut core::ffi::c_void,
    blocks: usize,
}

impl Mapped {
    fn new(blocks: usize) -> Option<Self> {
        let length = blocks.checked_mul(size_of::<Block>()).filter(|&length| length > 0)?;
        // SAFETY: the kernel chooses the place, so that nothing else is there.
        let start = unsafe {
            mmap_anonymous(
                std::ptr::null_mut(),
                length,
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::PRIVATE,
            )
        };
        Some(Self { start: start.ok()?, blocks })
    }
}

impl AsMut<[Block]> for Mapped {
    fn as_mut(&mut self) -> &mut [Block] {
        // SAFETY: the mapping is page-aligned, `blocks` blocks long, ours alone, and zeroed, which is a valid Block
        // (an array of integers).
        unsafe { std::slice::from_raw_parts_mut(self.start.cast::<Block>(), self.blocks) }
    }
}

impl Drop for Mapped {
    fn drop(&mut self) {
        // SAFETY: mapped by `new` with this length; no slice outlives `self`.
        let unmapped = unsafe { munmap(self.start, self.blocks * size_of::<Block>()) };
        debug_assert!(unmapped.is_ok());
    }
}
