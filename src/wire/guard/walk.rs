//! The walk itself: a body along its shape.

use std::str;

use bytes::{Bytes, BytesMut};

use super::{
    GuardCost, GuardError, GuardLimits,
    shape::{Field, Kind, Request, Shape},
};
use crate::wire::{
    reader::{Malformed, Reader},
    writer::{self, Form},
};

pub(super) struct Walk<'a> {
    request: &'static Request,
    version: i16,
    form: Form,
    body: &'a [u8],
    reader: Reader<'a>,
    /// The field that is being read, for the error.
    field: &'static str,
    malformed_strings: u32,
    repair: Option<Repair>,
}

/// The copy that [`Walk::repairing`] writes.
struct Repair {
    out: BytesMut,
    /// How much of the body is in `out`.
    copied: usize,
}

impl<'a> Walk<'a> {
    /// `version` must be one of `request`.
    pub(super) fn new(request: &'static Request, version: i16, body: &'a [u8], limits: &GuardLimits) -> Self {
        let form = Form::of(version, request.flexible_from);
        Self {
            request,
            version,
            form,
            body,
            reader: Reader::new(body, form, limits.memory_bytes_max),
            field: "",
            malformed_strings: 0,
            repair: None,
        }
    }

    /// Makes the walk write a copy of the body with valid strings.
    pub(super) fn repairing(mut self) -> Self {
        self.repair = Some(Repair { out: BytesMut::with_capacity(self.body.len()), copied: 0 });
        self
    }

    pub(super) fn run(&mut self) -> Result<(), GuardError> {
        let body = &self.request.body;
        self.reader
            .charge(1, body.memory_bytes)
            .and_then(|()| self.structure(body))
            .and_then(|()| self.charge_repair())
            .map_err(|source| GuardError::Malformed {
                api_key: self.request.api_key,
                version: self.version,
                field: self.field,
                position: self.reader.position(),
                source,
            })
    }

    pub(super) fn cost(&self) -> GuardCost {
        GuardCost { memory_bytes: self.reader.memory_bytes(), malformed_strings: self.malformed_strings }
    }

    /// What [`Walk::repairing`] asked for.
    pub(super) fn repaired(self) -> Bytes {
        let Some(mut repair) = self.repair else { return Bytes::new() };
        repair.out.extend_from_slice(self.body.get(repair.copied..).unwrap_or_default());
        repair.out.freeze()
    }

    #[cfg(test)]
    pub(super) fn position(&self) -> usize {
        self.reader.position()
    }

    fn structure(&mut self, shape: &'static Shape) -> Result<(), Malformed> {
        for field in shape.fields {
            if field.versions.contains(self.version) {
                self.field(field)?;
            }
        }
        self.tagged_fields(shape)
    }

    fn field(&mut self, field: &'static Field) -> Result<(), Malformed> {
        self.field = field.name;
        let nullable = field.nullable.contains(self.version);
        match &field.kind {
            Kind::Fixed(bytes) => _ = self.reader.take(*bytes)?,
            Kind::String => self.string(nullable)?,
            Kind::Bytes => non_null(self.reader.nullable_bytes()?, nullable).map(drop)?,
            Kind::FixedArray(bytes) => {
                let count = self.count(*bytes, *bytes, nullable)?;
                self.reader.take(count.saturating_mul(*bytes))?;
            }
            Kind::StringArray(memory_bytes) => {
                let bytes_min = Kind::String.bytes_min(self.version, self.is_flexible());
                for _ in 0..self.count(bytes_min, *memory_bytes, nullable)? {
                    self.string(false)?;
                }
            }
            Kind::Array(shape) => {
                let bytes_min = shape.bytes_min(self.version, self.is_flexible());
                for _ in 0..self.count(bytes_min, shape.memory_bytes, nullable)? {
                    self.structure(shape)?;
                }
            }
            Kind::Structure(shape) => self.structure(shape)?,
            Kind::Optional(shape) => match self.reader.i8()? {
                1 => self.structure(shape)?,
                presence if presence >= 0 => return Err(Malformed::Presence(presence)),
                _null if nullable => {}
                _null => return Err(Malformed::Null),
            },
        }
        Ok(())
    }

    fn tagged_fields(&mut self, shape: &'static Shape) -> Result<(), Malformed> {
        if !self.is_flexible() {
            return Ok(());
        }
        self.field = "tagged fields";
        let mut memory_bytes = FIRST_TAGGED_FIELD_MEMORY_BYTES;
        for _ in 0..self.reader.tags()? {
            let (tag, size) = self.reader.tag()?;
            match shape.tags.iter().find(|known| known.tag == tag) {
                // Its size is not looked at, neither by kafka-protocol nor by Kafka.
                Some(known) if known.field.versions.contains(self.version) => self.field(&known.field)?,
                Some(_) => return Err(Malformed::Tag(tag)),
                None => {
                    self.reader.take(size)?;
                    self.reader.charge(1, memory_bytes)?;
                    memory_bytes = TAGGED_FIELD_MEMORY_BYTES;
                }
            }
        }
        Ok(())
    }

    fn count(&mut self, bytes_min: usize, memory_bytes: usize, nullable: bool) -> Result<usize, Malformed> {
        let count = self.reader.nullable_count(bytes_min, memory_bytes)?;
        non_null(count, nullable).map(Option::unwrap_or_default)
    }

    fn string(&mut self, nullable: bool) -> Result<(), Malformed> {
        let start = self.reader.position();
        let Some(string) = non_null(self.reader.nullable_string()?, nullable)? else { return Ok(()) };
        if str::from_utf8(string).is_ok() {
            return Ok(());
        }
        self.malformed_strings = self.malformed_strings.saturating_add(1);
        self.reader.charge(string.len(), REPLACEMENT_BYTES)?;
        let Some(repair) = &mut self.repair else { return Ok(()) };
        repair.out.extend_from_slice(self.body.get(repair.copied..start).unwrap_or_default());
        writer::put_string(&mut repair.out, self.form, &String::from_utf8_lossy(string))
            .map_err(|_| Malformed::StringTooLong)?;
        repair.copied = self.reader.position();
        Ok(())
    }

    /// Malformed strings are repaired in a copy of the body.
    fn charge_repair(&mut self) -> Result<(), Malformed> {
        match self.malformed_strings {
            0 => Ok(()),
            _ => self.reader.charge(self.body.len(), 1),
        }
    }

    fn is_flexible(&self) -> bool {
        self.form.is_flexible()
    }
}

fn non_null<T>(value: Option<T>, nullable: bool) -> Result<Option<T>, Malformed> {
    match value {
        None if !nullable => Err(Malformed::Null),
        value => Ok(value),
    }
}

/// kafka-protocol keeps unknown tagged fields in a `BTreeMap<i32, Bytes>`: the first takes a leaf for eleven, the
/// others their part of leaves that are half full and of the nodes above.
const FIRST_TAGGED_FIELD_MEMORY_BYTES: usize = 512;
const TAGGED_FIELD_MEMORY_BYTES: usize = 128;

/// A malformed byte becomes the three of U+FFFD.
const REPLACEMENT_BYTES: usize = 3;
