//! Who the server is: looking up a system user, and becoming it for good.
//!
//! ```
//! use postier_host::identity::Identity;
//! let root = Identity::lookup("root").unwrap().unwrap();
//! assert_eq!(root.uid, 0);
//! ```

use std::ffi::{CStr, CString};
use std::io;

/// A system user.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Identity {
    /// Login name.
    pub name: String,
    /// What people call the user; may be empty.
    pub full_name: String,
    /// User id.
    pub uid: u32,
    /// Primary group.
    pub gid: u32,
}

impl Identity {
    /// The user of this name; `None` if there is none.
    ///
    /// # Errors
    /// Those of the user database.
    pub fn lookup(name: &str) -> io::Result<Option<Self>> {
        let Ok(c_name) = CString::new(name) else { return Ok(None) };
        // SAFETY: the arguments after the name are those `query` promises.
        query(|entry, buffer, found| unsafe {
            libc::getpwnam_r(c_name.as_ptr(), entry, buffer.as_mut_ptr().cast(), buffer.len(), found)
        })
    }

    /// The user this process acts as; its number when it has no name.
    ///
    /// # Errors
    /// Those of the user database.
    pub fn current() -> io::Result<Self> {
        let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        // SAFETY: the arguments after the number are those `query` promises.
        let found = query(|entry, buffer, found| unsafe {
            libc::getpwuid_r(uid, entry, buffer.as_mut_ptr().cast(), buffer.len(), found)
        })?;
        Ok(found.unwrap_or(Self { name: uid.to_string(), full_name: String::new(), uid, gid }))
    }

    /// Whether this process acts as this user already.
    pub fn is_current(&self) -> bool {
        rustix::process::geteuid().as_raw() == self.uid
    }

    /// All groups the user is in, the primary one included.
    pub fn groups(&self) -> Vec<u32> {
        let Ok(name) = CString::new(self.name.as_str()) else { return vec![self.gid] };
        let mut groups = vec![0; 64];
        loop {
            let mut count = libc::c_int::try_from(groups.len()).unwrap_or(libc::c_int::MAX);
            // SAFETY: at most `count` groups are written into the vector of that length.
            let outcome =
                unsafe { libc::getgrouplist(name.as_ptr(), self.gid, groups.as_mut_ptr(), &mut count) };
            let needed = usize::try_from(count).unwrap_or(0);
            if outcome >= 0 || needed <= groups.len() {
                groups.truncate(needed);
                return groups;
            }
            groups.resize(needed, 0);
        }
    }

    /// Becomes this user: groups, group, user, for good, and no program started later can gain more.
    /// Nothing happens when it is this user already.
    ///
    /// # Errors
    /// `PermissionDenied` when this process may not; `InvalidInput` when it has more than one thread: the
    /// others would keep their rights.
    pub fn assume(&self) -> io::Result<()> {
        if self.is_current() {
            return Ok(());
        }
        require_one_thread()?;
        let name = CString::new(self.name.as_str()).map_err(|_| io::ErrorKind::InvalidInput)?;
        // SAFETY: plain system calls; the name is a C string that outlives the call.
        unsafe {
            check(libc::initgroups(name.as_ptr(), self.gid))?;
            check(libc::setresgid(self.gid, self.gid, self.gid))?;
            check(libc::setresuid(self.uid, self.uid, self.uid))?;
            check(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))?;
            if self.uid != 0 && libc::setuid(0) == 0 {
                return Err(io::Error::other("root's rights could be taken back"));
            }
        }
        Ok(())
    }
}

/// An error unless this process has one thread.
pub(crate) fn require_one_thread() -> io::Result<()> {
    let threads = std::fs::read_dir("/proc/self/task").map_or(1, Iterator::count);
    if threads == 1 {
        return Ok(());
    }
    Err(io::Error::new(io::ErrorKind::InvalidInput, "threads have been started already"))
}

pub(crate) fn check(result: libc::c_int) -> io::Result<()> {
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Runs a look-up of passwd(5) with buffers that grow until the entry fits. `call` gets an entry to fill, a buffer for
/// its strings and a place for the result, as getpwnam_r(3) wants them.
fn query(
    call: impl Fn(*mut libc::passwd, &mut [u8], *mut *mut libc::passwd) -> libc::c_int,
) -> io::Result<Option<Identity>> {
    let mut buffer = vec![0; 1024];
    loop {
        let mut entry = std::mem::MaybeUninit::<libc::passwd>::uninit();
        let mut found = std::ptr::null_mut();
        let code = call(entry.as_mut_ptr(), &mut buffer, &mut found);
        if code == libc::ERANGE && buffer.len() < 1 << 20 {
            buffer.resize(buffer.len() * 2, 0);
            continue;
        }
        if found.is_null() {
            // Some systems report an unknown name with one of these instead of 0.
            return match code {
                0 | libc::ENOENT | libc::ESRCH => Ok(None),
                code => Err(io::Error::from_raw_os_error(code)),
            };
        }
        // SAFETY: a non-null result points at the entry, now filled, whose strings lie in the buffer.
        let (entry, name) = unsafe { (*found, CStr::from_ptr((*found).pw_name)) };
        let name = name.to_string_lossy().into_owned();
        let about = if entry.pw_gecos.is_null() {
            String::new()
        } else {
            // SAFETY: as above.
            unsafe { CStr::from_ptr(entry.pw_gecos) }.to_string_lossy().into_owned()
        };
        let full_name = full_name(&about, &name);
        return Ok(Some(Identity { name, full_name, uid: entry.pw_uid, gid: entry.pw_gid }));
    }
}

/// The name in passwd(5)'s field about the user: its first part, `&` standing for the login name with a capital.
fn full_name(about: &str, login: &str) -> String {
    let mut letters = login.chars();
    let capital: String = letters.next().into_iter().flat_map(char::to_uppercase).chain(letters).collect();
    about.split(',').next().unwrap_or_default().replace('&', &capital)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_looked_up() {
        let root = Identity::lookup("root").unwrap().unwrap();
        assert_eq!((root.uid, root.gid), (0, 0));
        assert_eq!(full_name("Ann B. &,Room 7,555", "jones"), "Ann B. Jones");
        assert_eq!(full_name("", "jones"), "");
        assert_eq!(Identity::lookup("no such user").unwrap(), None);
        assert_eq!(Identity::lookup("a\0b").unwrap(), None);
        assert!(Identity::current().unwrap().is_current());
        assert!(root.groups().contains(&0));
    }
}
