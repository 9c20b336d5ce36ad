//! A reply as text that is the same each time: without types and empty tags, and with stable names in place of what a
//! broker makes up.

use std::fmt::Debug;

/// What a broker makes up or is told, and what it is called in a transcript.
#[derive(Default)]
pub struct Names {
    known: Vec<(String, String)>,
    ids: usize,
}

impl Names {
    /// From now on `value` is shown as `name`.
    pub fn add(&mut self, value: impl Into<String>, name: impl Into<String>) {
        self.known.push((value.into(), name.into()));
    }

    /// `reply` as text. `sorted`: lists have no order of their own (Kafka keeps members and topics in hash maps).
    pub fn text(&mut self, reply: &impl Debug, sorted: bool) -> String {
        let debug = format!("{reply:#?}");
        let mut root = Node::parse(&mut debug.lines());
        root.tidy();
        if sorted {
            root.sort(self);
        }
        root.name(self);
        let mut text = String::new();
        root.write(0, &mut text);
        text
    }

    /// Every UUID becomes `<id 1>`, `<id 2>` and so on in order of appearance.
    fn replace(&mut self, text: &str) -> String {
        let mut text = self.replace_known(text);
        while let Some(id) = uuid_in(&text).or_else(|| compact_uuid(&text)) {
            self.ids += 1;
            self.add(id, format!("<id {}>", self.ids));
            text = self.replace_known(&text);
        }
        text
    }

    fn replace_known(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (value, name) in &self.known {
            if text.contains(value) {
                text = text.replace(value, name);
            }
        }
        text
    }

    /// As [`replace`](Self::replace) will, but for ids that have no name yet.
    fn sort_key(&self, text: &str) -> String {
        let mut text = self.replace_known(text);
        while let Some(id) = uuid_in(&text).or_else(|| compact_uuid(&text)) {
            text = text.replace(&id, "<id>");
        }
        text
    }
}

/// A value in the layout of `{:#?}`.
struct Node {
    /// All of it, or what stands before the values inside, such as `members: [`.
    text: String,
    inside: Option<(Vec<Node>, String)>,
}

impl Node {
    fn parse<'a>(lines: &mut impl Iterator<Item = &'a str>) -> Self {
        Self::parse_next(lines).unwrap_or_else(|end| panic!("a reply that begins with {end}"))
    }

    /// The end of what is around it when there is no further value.
    fn parse_next<'a>(lines: &mut impl Iterator<Item = &'a str>) -> Result<Self, String> {
        let line = lines.next().expect("a whole value").trim();
        let text = line.strip_suffix(',').unwrap_or(line).to_owned();
        if matches!(text.as_str(), "}" | "]" | ")") {
            return Err(text);
        }
        if !line.ends_with(['{', '[', '(']) {
            return Ok(Self { text, inside: None });
        }
        let mut nodes = Vec::new();
        loop {
            match Self::parse_next(lines) {
                Ok(node) => nodes.push(node),
                Err(end) => return Ok(Self { text, inside: Some((nodes, end)) }),
            }
        }
    }

    /// Leaves out what is empty in every reply, and the names of types inside.
    fn tidy(&mut self) {
        let Some((nodes, _)) = &mut self.inside else { return };
        nodes.retain(|node| !matches!(&*node.text, "unknown_tagged_fields: {}" | "throttle_time_ms: 0"));
        for node in nodes {
            node.tidy();
            node.drop_type();
        }
    }

    fn drop_type(&mut self) {
        let Some((nodes, _)) = &mut self.inside else { return };
        let (field, value) =
            self.text.split_once(": ").map_or(("", self.text.as_str()), |(field, value)| (field, value));
        let field = if field.is_empty() { String::new() } else { format!("{field}: ") };
        match value {
            "Some(" | "[" | "{" => {}
            _ if value.ends_with('{') => self.text = field + "{",
            _ if value.ends_with('(') && nodes.len() == 1 => {
                let only = nodes.remove(0);
                self.text = field + &only.text;
                self.inside = only.inside;
            }
            _ => {}
        }
    }

    fn sort(&mut self, names: &Names) {
        let Some((nodes, end)) = &mut self.inside else { return };
        for node in nodes.iter_mut() {
            node.sort(names);
        }
        if end == "]" {
            nodes.sort_by_cached_key(|node| {
                let mut text = String::new();
                node.write(0, &mut text);
                names.sort_key(&text)
            });
        }
    }

    fn name(&mut self, names: &mut Names) {
        if self.text.starts_with("cluster_id: Some(") {
            *self = Self { text: "cluster_id: Some(<cluster>)".to_owned(), inside: None };
        }
        self.text = shortened(made_up(&names.replace(&self.text)));
        if let Some((nodes, _)) = &mut self.inside {
            nodes.iter_mut().for_each(|node| node.name(names));
        }
    }

    fn write(&self, depth: usize, text: &mut String) {
        let indent = "  ".repeat(depth);
        let line = self.one_line();
        let Some((nodes, end)) = self.inside.as_ref().filter(|_| indent.len() + line.len() > WIDTH) else {
            return text.push_str(&format!("{indent}{line}\n"));
        };
        text.push_str(&format!("{indent}{}\n", self.text));
        let mut short = String::new();
        for node in nodes {
            let line = node.one_line();
            let room = WIDTH.saturating_sub(indent.len() + 2);
            if line.len() > room || short.len() + 2 + line.len() > room {
                write_line(&mut short, depth + 1, text);
            }
            if line.len() > room {
                node.write(depth + 1, text);
            } else {
                short = if short.is_empty() { line } else { format!("{short}, {line}") };
            }
        }
        write_line(&mut short, depth + 1, text);
        text.push_str(&format!("{indent}{end}\n"));
    }

    fn one_line(&self) -> String {
        let Some((nodes, end)) = &self.inside else { return self.text.clone() };
        let inside = nodes.iter().map(Node::one_line).collect::<Vec<_>>().join(", ");
        let space = if end == "}" { " " } else { "" };
        format!("{}{space}{inside}{space}{end}", self.text)
    }
}

fn write_line(line: &mut String, depth: usize, text: &mut String) {
    if !line.is_empty() {
        text.push_str(&format!("{}{}\n", "  ".repeat(depth), std::mem::take(line)));
    }
}

/// Values that differ from run to run, known by their field or by what they look like.
fn made_up(text: &str) -> String {
    let Some((field, value)) = text.split_once(": ") else { return text.to_owned() };
    let is_recent = value.parse().is_ok_and(|value: i64| (RECENT_MS..2 * RECENT_MS).contains(&value));
    match field {
        "port" => format!("{field}: <port>"),
        "session_id" if value != "0" => format!("{field}: <session>"),
        "producer_id" if !value.starts_with('-') => format!("{field}: <producer>"),
        // DescribeCluster's is no option.
        "cluster_id" if value.starts_with('"') => format!("{field}: <cluster>"),
        _ if is_recent => format!("{field}: <now>"),
        _ => text.to_owned(),
    }
}

fn shortened(text: String) -> String {
    let length = text.chars().count();
    if length <= LONGEST_TEXT {
        return text;
    }
    let start: String = text.chars().take(60).collect();
    let end: String = text.chars().skip(length - 20).collect();
    format!("{start} <{} more> {end}", length - 80)
}

/// The first UUID, but for those with leading zeros, which tests make up.
fn uuid_in(text: &str) -> Option<String> {
    let is_uuid = |bytes: &[u8]| {
        bytes.iter().enumerate().all(|(index, byte)| match index {
            8 | 13 | 18 | 23 => *byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
    };
    let found = text.as_bytes().windows(36).find(|bytes| is_uuid(bytes) && !bytes.starts_with(b"00000000"))?;
    Some(String::from_utf8_lossy(found).into_owned())
}

/// A value that is a UUID as Kafka writes it: in base 64, with an upper case letter in all likelihood.
fn compact_uuid(text: &str) -> Option<String> {
    let value = text.rsplit(": ").next()?.trim_matches('"');
    let is_base64 = value.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
    let is_uuid = value.len() == 22 && is_base64 && value.bytes().any(|byte| byte.is_ascii_uppercase());
    is_uuid.then(|| value.to_owned())
}

const WIDTH: usize = 116;
const LONGEST_TEXT: usize = 300;
/// Every time since 2020, in milliseconds.
const RECENT_MS: i64 = 1_577_836_800_000;
