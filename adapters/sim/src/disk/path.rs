//! The disk as other programs and the judges see it: by path, at once.

use postier_core::disk::Errno;

use super::{Body, DirBody, Disk, Entries, FileBody, Ino};

impl Disk {
    /// What a path names.
    ///
    /// # Errors
    /// Like stat(2).
    pub fn resolve(&self, path: &str) -> Result<Ino, Errno> {
        path.split('/')
            .filter(|part| !part.is_empty())
            .try_fold(0, |dir, part| self.find(dir, part.as_bytes()))
    }

    fn parent<'p>(&self, path: &'p str) -> Result<(Ino, &'p [u8]), Errno> {
        let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
        Ok((self.resolve(parent)?, name.as_bytes()))
    }

    /// The names in a directory; none if there is no such directory.
    pub fn names(&self, path: &str) -> Vec<String> {
        let entries: Option<&Entries> = self.resolve(path).ok().and_then(|dir| self.entries(dir).ok());
        entries.into_iter().flatten().map(|(name, _)| String::from_utf8_lossy(name).into_owned()).collect()
    }

    /// The octets of a file.
    pub fn contents(&self, path: &str) -> Option<&[u8]> {
        Some(&self.file(self.resolve(path).ok()?).ok()?.bytes)
    }

    /// Is it a directory?
    pub fn is_dir(&self, path: &str) -> bool {
        self.resolve(path).is_ok_and(|ino| self.entries(ino).is_ok())
    }

    /// Makes a directory.
    ///
    /// # Errors
    /// Like mkdir(2).
    pub fn make_dir(&mut self, path: &str) -> Result<(), Errno> {
        let (dir, name) = self.parent(path)?;
        self.make_entry(dir, name, Body::Directory(DirBody::default())).map(|_| ())
    }

    /// Creates a file that must not exist, with octets that are not synced.
    ///
    /// # Errors
    /// Like open(2) with O_EXCL.
    pub fn create(&mut self, path: &str, bytes: &[u8]) -> Result<(), Errno> {
        let (dir, name) = self.parent(path)?;
        let ino = self.make_entry(dir, name, Body::File(FileBody { dirty: true, ..FileBody::default() }))?;
        self.append(ino, bytes)
    }

    fn make_entry(&mut self, dir: Ino, name: &[u8], body: Body) -> Result<Ino, Errno> {
        if self.entries(dir)?.contains_key(name) {
            return Err(Errno::Exists);
        }
        let ino = self.new_inode(body);
        self.change(super::Change::Add { dir, name: name.to_vec(), ino });
        Ok(ino)
    }

    /// Appends to a file.
    ///
    /// # Errors
    /// Like open(2).
    pub fn append_to(&mut self, path: &str, bytes: &[u8]) -> Result<(), Errno> {
        self.append(self.resolve(path)?, bytes)
    }

    /// Renames, over an existing target if there is one.
    ///
    /// # Errors
    /// Like rename(2).
    pub fn move_file(&mut self, path: &str, to: &str) -> Result<(), Errno> {
        let ((from, name), (target, to_name)) = (self.parent(path)?, self.parent(to)?);
        self.rename(from, name, target, to_name, true)
    }

    /// Makes a hard link.
    ///
    /// # Errors
    /// Like link(2).
    pub fn link_file(&mut self, path: &str, to: &str) -> Result<(), Errno> {
        let ino = self.resolve(path)?;
        let (target, to_name) = self.parent(to)?;
        self.link(ino, target, to_name)
    }

    /// Removes a file.
    ///
    /// # Errors
    /// Like unlink(2).
    pub fn remove(&mut self, path: &str) -> Result<(), Errno> {
        let (dir, name) = self.parent(path)?;
        self.find(dir, name)?;
        self.change(super::Change::Remove { dir, name: name.to_vec() });
        Ok(())
    }

    /// Syncs a file, or the names of a directory.
    pub fn sync(&mut self, path: &str) {
        if let Ok(ino) = self.resolve(path) {
            self.sync_ino(ino);
        }
    }

    /// [`Disk::sync`], whatever its name.
    pub fn sync_ino(&mut self, ino: Ino) {
        match self.inodes[ino].body {
            Body::File(_) => self.sync_file(ino),
            Body::Directory(_) => self.sync_dir(ino, self.changes),
        }
    }

    /// Changes whole files in place, durably: for faults that are planted.
    pub fn edit(&mut self, path: &str, edit: impl FnOnce(&mut Vec<u8>)) {
        if let Ok(ino) = self.resolve(path)
            && let Body::File(body) = &mut self.inodes[ino].body
        {
            edit(&mut body.bytes);
            body.dirty = true;
            self.sync_file(ino);
        }
    }

    /// Whether a file begins like a uidlist of version 3.
    pub fn starts_like_uidlist(&self, ino: Ino) -> bool {
        self.file(ino).is_ok_and(|body| body.bytes.starts_with(b"3 V"))
    }

    /// Whether a file is a notice to a sender (RFC 3464).
    pub fn is_notice(&self, dir: Ino, name: &[u8]) -> bool {
        const KIND: &[u8] = b"report-type=delivery-status";
        let bytes =
            |ino| self.file(ino).is_ok_and(|body| body.bytes.windows(KIND.len()).any(|at| at == KIND));
        self.find(dir, name).is_ok_and(bytes)
    }

    /// Whether some directory has this under this name.
    pub fn is_called(&self, ino: Ino, name: &[u8]) -> bool {
        (0..self.inodes.len()).any(|dir| self.entries(dir).is_ok_and(|names| names.get(name) == Some(&ino)))
    }

    /// Whether a directory has this name.
    pub fn has_name(&self, dir: Ino, name: &[u8]) -> bool {
        self.find(dir, name).is_ok()
    }
}
