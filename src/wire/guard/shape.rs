//! The vocabulary of the table: what a request looks like on the wire and in memory.

use kafka_protocol::messages::ApiKey;

/// An API: its versions, the first flexible one (KIP-482), and its body.
pub(super) struct Request {
    pub(super) api_key: ApiKey,
    pub(super) versions: Versions,
    pub(super) flexible_from: i16,
    pub(super) body: Shape,
}

/// A structure. Flexible versions end it with tagged fields, of which `tags` are known.
pub(super) struct Shape {
    pub(super) fields: &'static [Field],
    pub(super) tags: &'static [Tag],
    /// Size of what it decodes to.
    pub(super) memory_bytes: usize,
}

impl Shape {
    /// A structure that decodes to `T`.
    pub(super) const fn of<T>(fields: &'static [Field]) -> Self {
        Self { fields, tags: &[], memory_bytes: size_of::<T>() }
    }

    /// One that decodes to `A` or, by another decoder, to `B`.
    pub(super) const fn of_either<A, B>(fields: &'static [Field]) -> Self {
        let memory_bytes = if size_of::<A>() > size_of::<B>() { size_of::<A>() } else { size_of::<B>() };
        Self { fields, tags: &[], memory_bytes }
    }

    pub(super) const fn with_tags(mut self, tags: &'static [Tag]) -> Self {
        self.tags = tags;
        self
    }

    /// The least that it takes on the wire.
    pub(super) fn bytes_min(&self, version: i16, flexible: bool) -> usize {
        let fields = self.fields.iter().filter(|field| field.versions.contains(version));
        fields.map(|field| field.kind.bytes_min(version, flexible)).sum::<usize>() + usize::from(flexible)
    }
}

pub(super) struct Field {
    pub(super) name: &'static str,
    pub(super) versions: Versions,
    pub(super) nullable: Versions,
    pub(super) kind: Kind,
}

impl Field {
    pub(super) const fn nullable(mut self, versions: Versions) -> Self {
        self.nullable = versions;
        self
    }
}

/// A field in all of an API's versions.
pub(super) const fn field(name: &'static str, kind: Kind) -> Field {
    field_in(name, ALL, kind)
}

/// A field in some versions.
pub(super) const fn field_in(name: &'static str, versions: Versions, kind: Kind) -> Field {
    Field { name, versions, nullable: NONE, kind }
}

pub(super) struct Tag {
    pub(super) tag: u32,
    pub(super) field: Field,
}

pub(super) enum Kind {
    /// A number, a boolean or a uuid of so many bytes.
    Fixed(usize),
    String,
    Bytes,
    /// Of [`Kind::Fixed`], with the size of an element on the wire and in memory, which is the same.
    FixedArray(usize),
    /// Of strings, with the size of an element in memory.
    StringArray(usize),
    Array(&'static Shape),
    /// In a tagged field only.
    Structure(&'static Shape),
    /// After a byte that is 1, or -1 for null.
    Optional(&'static Shape),
}

impl Kind {
    pub(super) fn bytes_min(&self, version: i16, flexible: bool) -> usize {
        match self {
            Self::Fixed(bytes) => *bytes,
            Self::String if !flexible => 2,
            Self::Bytes | Self::FixedArray(_) | Self::StringArray(_) | Self::Array(_) if !flexible => 4,
            Self::Structure(shape) => shape.bytes_min(version, flexible),
            _ => 1,
        }
    }
}

pub(super) const INT8: Kind = Kind::Fixed(1);
pub(super) const BOOLEAN: Kind = Kind::Fixed(1);
pub(super) const INT16: Kind = Kind::Fixed(2);
pub(super) const INT32: Kind = Kind::Fixed(4);
pub(super) const INT64: Kind = Kind::Fixed(8);
pub(super) const UUID: Kind = Kind::Fixed(16);
pub(super) const INT32_ARRAY: Kind = Kind::FixedArray(4);

/// Both ends included.
#[derive(Clone, Copy)]
pub(super) struct Versions {
    pub(super) min: i16,
    pub(super) max: i16,
}

impl Versions {
    pub(super) const fn contains(self, version: i16) -> bool {
        self.min <= version && version <= self.max
    }
}

pub(super) const ALL: Versions = from(0);
pub(super) const NONE: Versions = between(0, -1);

pub(super) const fn from(min: i16) -> Versions {
    between(min, i16::MAX)
}

pub(super) const fn up_to(max: i16) -> Versions {
    between(0, max)
}

pub(super) const fn between(min: i16, max: i16) -> Versions {
    Versions { min, max }
}
