//! A meter on what a policy hands to the host's builtins, put into its module before that is compiled.
//!
//! While such a builtin runs nothing can interrupt it, so what it is given must be bounded. opa-wasm wires them itself
//! and reads each argument through the export `opa_json_dump`. So that export is made to name a function of ours: it
//! calls OPA's, counts the bytes of the text that comes back, and asks for as much room in a table that can hold
//! nothing. The limiter of the store hears of it before the host has read a byte, ends the evaluation or lets it go on.
//! All else in the module stays as it is.

use wasm_encoder::{
    CodeSection, ExportKind, ExportSection, Function, FunctionSection, HeapType, MemArg, Module, RawSection,
    RefType, TableSection, TableType, ValType,
};
use wasmparser::{ExternalKind, Parser, Payload, TypeRef};
use wasmtime::{Error, Result};

/// The most that the meter's table can hold, by which the limiter knows it.
pub(super) const ROOM: usize = 0;
/// What the host reads each argument through.
const DUMP: &str = "opa_json_dump";

/// What is to be known of a module before something is added.
#[derive(Default)]
struct Shape {
    imported: u32,
    /// The type of each function of its own; those imported are counted before them.
    types: Vec<u32>,
    tables: u32,
    dump: Option<u32>,
}

/// The module with a meter in it.
///
/// # Errors
/// When it is not one of OPA's.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "whatever else a module has stays as it is"
)]
pub(super) fn install(wasm: &[u8]) -> Result<Vec<u8>> {
    let shape = Shape::of(wasm)?;
    let (dump, dump_type) = shape.dump().ok_or_else(|| odd("opa_json_dump"))?;
    let meter = shape.imported + u32::try_from(shape.types.len())?;
    let (mut metered, mut code) = (Module::new(), CodeSection::new());
    for payload in Parser::new(0).parse_all(wasm) {
        match payload? {
            Payload::FunctionSection(_) => {
                let mut functions = FunctionSection::new();
                for one_type in shape.types.iter().chain([&dump_type]) {
                    functions.function(*one_type);
                }
                metered.section(&functions);
            }
            Payload::TableSection(all) => {
                let mut tables = TableSection::new();
                for table in all {
                    let table = table?.ty;
                    tables.table(functions_table(table.initial, table.maximum));
                }
                let room = u64::try_from(ROOM)?;
                tables.table(functions_table(room, Some(room)));
                metered.section(&tables);
            }
            Payload::ExportSection(all) => {
                let mut exports = ExportSection::new();
                for export in all {
                    let export = export?;
                    let index = if export.name == DUMP { meter } else { export.index };
                    exports.export(export.name, kind(export.kind)?, index);
                }
                metered.section(&exports);
            }
            Payload::CodeSectionStart { .. } => {}
            Payload::CodeSectionEntry(body) => {
                code.raw(body.as_bytes());
                if code.len() == u32::try_from(shape.types.len())? {
                    metered.section(code.function(&counting(dump, shape.tables)));
                }
            }
            other => {
                if let Some((id, range)) = other.as_section() {
                    let data = wasm.get(range).ok_or_else(|| odd("section"))?;
                    metered.section(&RawSection { id, data });
                }
            }
        }
    }
    Ok(metered.finish())
}

impl Shape {
    #[expect(clippy::wildcard_enum_match_arm, reason = "nothing else matters here")]
    fn of(wasm: &[u8]) -> Result<Self> {
        let mut shape = Self::default();
        for payload in Parser::new(0).parse_all(wasm) {
            match payload? {
                Payload::ImportSection(all) => {
                    for import in all.into_imports() {
                        match import?.ty {
                            TypeRef::Func(_) | TypeRef::FuncExact(_) => shape.imported += 1,
                            TypeRef::Table(_) => return Err(odd("table")),
                            TypeRef::Memory(_) | TypeRef::Global(_) | TypeRef::Tag(_) => {}
                        }
                    }
                }
                Payload::FunctionSection(all) => {
                    shape.types = all.into_iter().collect::<Result<_, _>>()?;
                }
                Payload::TableSection(all) => shape.tables = all.count(),
                Payload::ExportSection(all) => {
                    for export in all {
                        let export = export?;
                        if (export.name, export.kind) == (DUMP, ExternalKind::Func) {
                            shape.dump = Some(export.index);
                        }
                    }
                }
                _ => {}
            }
        }
        if shape.tables == 0 {
            return Err(odd("table"));
        }
        Ok(shape)
    }

    /// OPA's own function, and its type.
    fn dump(&self) -> Option<(u32, u32)> {
        let dump = self.dump?;
        let own = dump.checked_sub(self.imported)?;
        let dump_type = self.types.get(usize::try_from(own).ok()?)?;
        Some((dump, *dump_type))
    }
}

/// `opa_json_dump`, and the bytes of its text counted up to the NUL, which is as far as the host reads.
fn counting(dump: u32, meter_table: u32) -> Function {
    let (value, text, end) = (0, 0, 1);
    let byte = MemArg {
        offset: 0,
        align: 0,
        memory_index: 0,
    };
    let mut counting = Function::new([(1, ValType::I32)]);
    let mut body = counting.instructions();
    body.local_get(value).call(dump).local_tee(text).local_set(end);
    body.block(wasm_encoder::BlockType::Empty)
        .loop_(wasm_encoder::BlockType::Empty);
    body.local_get(end).i32_load8_u(byte).i32_eqz().br_if(1);
    body.local_get(end).i32_const(1).i32_add().local_set(end).br(0);
    body.end().end();
    body.ref_null(HeapType::FUNC);
    body.local_get(end).local_get(text).i32_sub();
    body.table_grow(meter_table).drop();
    body.local_get(text).end();
    counting
}

fn functions_table(minimum: u64, maximum: Option<u64>) -> TableType {
    TableType {
        element_type: RefType::FUNCREF,
        table64: false,
        minimum,
        maximum,
        shared: false,
    }
}

fn kind(kind: ExternalKind) -> Result<ExportKind> {
    match kind {
        ExternalKind::Func => Ok(ExportKind::Func),
        ExternalKind::Table => Ok(ExportKind::Table),
        ExternalKind::Memory => Ok(ExportKind::Memory),
        ExternalKind::Global => Ok(ExportKind::Global),
        ExternalKind::Tag | ExternalKind::FuncExact => Err(odd("export")),
    }
}

fn odd(what: &str) -> Error {
    Error::msg(format!("this is not a module of OPA's, by its {what}"))
}
