//! Reading one whole response, octet by octet, as the formal syntax of RFC 9051 §9 and RFC 3501 §9 has it.

/// What is wrong with a response.
pub type Wrong = String;

/// A value of the generic kind: what ENVELOPE and BODYSTRUCTURE consist of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// NIL
    Nil,
    /// A number or another atom.
    Atom(Vec<u8>),
    /// A quoted string or a literal.
    String(Vec<u8>),
    /// A list in parentheses.
    List(Vec<Value>),
}

/// Lists are nested no deeper than this in a response of a sane server.
const DEPTH_MAX: usize = 64;

/// A place in a response.
#[derive(Debug)]
pub struct Cursor<'r> {
    rest: &'r [u8],
}

impl<'r> Cursor<'r> {
    /// At the start of a response without its last CRLF.
    pub fn new(response: &'r [u8]) -> Self {
        Cursor { rest: response }
    }

    /// What is not read yet.
    pub fn rest(&self) -> &'r [u8] {
        self.rest
    }

    fn wrong<T>(&self, wanted: &str) -> Result<T, Wrong> {
        let found = &self.rest[..self.rest.len().min(40)];
        Err(format!("expected {wanted}, found {:?}", String::from_utf8_lossy(found)))
    }

    /// Everything is read.
    ///
    /// # Errors
    /// It is not.
    pub fn end(&self) -> Result<(), Wrong> {
        if self.rest.is_empty() { Ok(()) } else { self.wrong("the end of the response") }
    }

    /// Eats these octets if they come next.
    pub fn eat(&mut self, octets: &[u8]) -> bool {
        match self.rest.strip_prefix(octets) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    /// These octets must come next.
    ///
    /// # Errors
    /// They do not.
    pub fn expect(&mut self, octets: &[u8]) -> Result<(), Wrong> {
        if self.eat(octets) { Ok(()) } else { self.wrong(&format!("{:?}", String::from_utf8_lossy(octets))) }
    }

    /// Exactly one space.
    ///
    /// # Errors
    /// None, or two.
    pub fn space(&mut self) -> Result<(), Wrong> {
        self.expect(b" ")?;
        if self.rest.first() == Some(&b' ') { self.wrong("one space") } else { Ok(()) }
    }

    fn take_while(&mut self, good: impl Fn(u8) -> bool) -> &'r [u8] {
        let end = self.rest.iter().position(|byte| !good(*byte)).unwrap_or(self.rest.len());
        let (taken, rest) = self.rest.split_at(end);
        self.rest = rest;
        taken
    }

    /// An atom: no space, control, parenthesis, brace, quote, `%`, `*`, `\`, `]`.
    ///
    /// # Errors
    /// None is here.
    pub fn atom(&mut self) -> Result<&'r [u8], Wrong> {
        let good = |byte: u8| byte.is_ascii_graphic() && !b"(){%*\"\\]".contains(&byte);
        let atom = self.take_while(good);
        if atom.is_empty() { self.wrong("an atom") } else { Ok(atom) }
    }

    /// A flag, with `\` or without; `\*` where it is allowed.
    ///
    /// # Errors
    /// None is here.
    pub fn flag(&mut self, star: bool) -> Result<String, Wrong> {
        let slash = self.eat(b"\\");
        if slash && star && self.eat(b"*") {
            return Ok("\\*".into());
        }
        let name = String::from_utf8_lossy(self.atom()?).into_owned();
        Ok(if slash { format!("\\{name}") } else { name })
    }

    /// A list of flags in parentheses, each once.
    ///
    /// # Errors
    /// None is here.
    pub fn flags(&mut self, star: bool) -> Result<Vec<String>, Wrong> {
        let flags = self.list(|cursor| cursor.flag(star))?;
        for (index, flag) in flags.iter().enumerate() {
            if flags[..index].iter().any(|other| other.eq_ignore_ascii_case(flag)) {
                return Err(format!("the flag {flag} twice"));
            }
        }
        Ok(flags)
    }

    /// A list in parentheses, its members separated by single spaces.
    ///
    /// # Errors
    /// None is here.
    pub fn list<T>(
        &mut self,
        mut member: impl FnMut(&mut Self) -> Result<T, Wrong>,
    ) -> Result<Vec<T>, Wrong> {
        self.expect(b"(")?;
        let mut members = Vec::new();
        while !self.eat(b")") {
            if !members.is_empty() {
                self.space()?;
            }
            members.push(member(self)?);
        }
        Ok(members)
    }

    /// A decimal number without leading zeros.
    ///
    /// # Errors
    /// None is here.
    pub fn number(&mut self) -> Result<u64, Wrong> {
        let digits = self.take_while(|byte| byte.is_ascii_digit());
        let text = std::str::from_utf8(digits).unwrap_or_default();
        match text.parse() {
            Ok(number) if text == "0" || !text.starts_with('0') => Ok(number),
            Ok(_) | Err(_) => self.wrong("a number"),
        }
    }

    /// A number of 32 bits that is not 0.
    ///
    /// # Errors
    /// None is here.
    pub fn nz_number(&mut self) -> Result<u32, Wrong> {
        match u32::try_from(self.number()?) {
            Ok(number) if number > 0 => Ok(number),
            Ok(_) | Err(_) => self.wrong("a number from 1 to 4294967295"),
        }
    }

    /// A set of UIDs, in ascending order, each once.
    ///
    /// # Errors
    /// None is here.
    pub fn uid_set(&mut self) -> Result<Vec<u32>, Wrong> {
        let mut uids = Vec::new();
        loop {
            let first = self.nz_number()?;
            let last = if self.eat(b":") { self.nz_number()? } else { first };
            if last < first || last - first > 1_000_000 {
                return Err(format!("the range {first}:{last}"));
            }
            uids.extend(first..=last);
            if !self.eat(b",") {
                return Ok(uids);
            }
        }
    }

    /// A quoted string or a literal.
    ///
    /// # Errors
    /// None is here.
    pub fn string(&mut self) -> Result<Vec<u8>, Wrong> {
        if self.eat(b"\"") {
            return self.quoted();
        }
        let binary = self.eat(b"~");
        self.expect(b"{")?;
        let length = usize::try_from(self.number()?).unwrap_or(usize::MAX);
        self.expect(b"}\r\n")?;
        let Some((octets, rest)) = self.rest.split_at_checked(length) else {
            return self.wrong("the octets of a literal");
        };
        if !binary && octets.contains(&0) {
            return Err("NUL in a literal".into());
        }
        self.rest = rest;
        Ok(octets.to_vec())
    }

    fn quoted(&mut self) -> Result<Vec<u8>, Wrong> {
        let mut out = Vec::new();
        loop {
            let Some((first, rest)) = self.rest.split_first() else { return self.wrong("a closing quote") };
            self.rest = rest;
            match first {
                b'"' => return Ok(out),
                b'\\' => match rest.split_first() {
                    Some((quoted @ (b'"' | b'\\'), rest)) => {
                        out.push(*quoted);
                        self.rest = rest;
                    }
                    Some(_) | None => return self.wrong("a quote or a backslash behind a backslash"),
                },
                0 | b'\r' | b'\n' => return Err("a control character in a quoted string".into()),
                other => out.push(*other),
            }
        }
    }

    /// A string, or NIL.
    ///
    /// # Errors
    /// Neither is here.
    pub fn nstring(&mut self) -> Result<Option<Vec<u8>>, Wrong> {
        if self.eat(b"NIL") { Ok(None) } else { self.string().map(Some) }
    }

    /// A string, or an atom that may hold `]`.
    ///
    /// # Errors
    /// Neither is here.
    pub fn astring(&mut self) -> Result<Vec<u8>, Wrong> {
        if matches!(self.rest.first(), Some(b'"' | b'{')) {
            return self.string();
        }
        let good = |byte: u8| byte.is_ascii_graphic() && !b"(){%*\"\\".contains(&byte);
        let atom = self.take_while(good);
        if atom.is_empty() { self.wrong("a mailbox name") } else { Ok(atom.to_vec()) }
    }

    /// A value of any kind.
    ///
    /// # Errors
    /// None is here.
    pub fn value(&mut self) -> Result<Value, Wrong> {
        self.value_at(0)
    }

    fn value_at(&mut self, depth: usize) -> Result<Value, Wrong> {
        if depth > DEPTH_MAX {
            return Err("lists nested too deep".into());
        }
        match self.rest.first() {
            Some(b'(') => {
                self.expect(b"(")?;
                let mut members = Vec::new();
                while !self.eat(b")") {
                    // Parts of a multipart and addresses of a list stand side by side.
                    let adjacent =
                        matches!(members.last(), Some(Value::List(_))) && self.rest.first() == Some(&b'(');
                    if !members.is_empty() && !adjacent {
                        self.space()?;
                    }
                    members.push(self.value_at(depth + 1)?);
                }
                Ok(Value::List(members))
            }
            Some(b'"' | b'{') => self.string().map(Value::String),
            _ => match self.atom()? {
                b"NIL" => Ok(Value::Nil),
                atom => Ok(Value::Atom(atom.to_vec())),
            },
        }
    }

    /// Text up to the end: at least one octet, none a control character.
    ///
    /// # Errors
    /// It is empty or holds one.
    pub fn text(&mut self) -> Result<String, Wrong> {
        let text = self.take_while(|byte| byte >= b' ' && byte != 0x7f);
        if text.is_empty() {
            return self.wrong("text");
        }
        self.end()?;
        Ok(String::from_utf8_lossy(text).into_owned())
    }

    /// What stands before the closing bracket of a response code or a section.
    ///
    /// # Errors
    /// It is not closed.
    pub fn until_bracket(&mut self) -> Result<&'r [u8], Wrong> {
        let inside = self.take_while(|byte| byte != b']' && byte != b'\r' && byte != b'\n');
        self.expect(b"]")?;
        Ok(inside)
    }
}
