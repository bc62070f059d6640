//! A model to convert: keys, and tensors that read as floats however they are stored.

use super::dtype::Dtype;
use super::error::Error;
use super::quantized::{Packed, PackedMatrices};
use super::shards::Shards;
use super::stored::Files;
use super::transform::{Change, Columns, Order, Transform};
use crate::gguf::{self, GgmlType, Value};
use crate::mapped::{self, Changed, Map, Stamp};
use crate::names;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tempfile::TempPath;

/// A model: GGUF keys and tensors under their GGUF names, which read as floats however they are stored.
pub struct Model {
    /// Where it came from.
    pub path: PathBuf,
    /// Keys, without `general.file_type` and `general.quantization_version`.
    pub keys: Vec<(String, Value)>,
    /// Tensors in the order in which they are written.
    pub tensors: Vec<SourceTensor>,
    /// What people should know of the file: what of the checkpoint is not in it, and the like. Whole sentences without
    /// a full stop.
    pub notes: Vec<String>,
    /// What holds the bytes.
    pub(super) storage: Storage,
    /// The files that were read and are not held, as they were before.
    pub(super) read: Stamps,
    /// Of a foreign folder: what its GGUF file was made of. After the storage, so that a temporary file is closed when
    /// it is deleted.
    pub(super) converted: Option<Converted>,
}

/// Files as they were before they were read.
pub(super) type Stamps = Vec<(PathBuf, Stamp)>;

/// The files of a list that are there, as they are now.
pub(super) fn stamps(files: &[PathBuf]) -> Stamps {
    files.iter().filter_map(|path| Some((path.clone(), Stamp::of(path)?))).collect()
}

/// What llama.cpp's converter made a GGUF file of.
pub(super) struct Converted {
    /// The files of the folder.
    pub files: Vec<PathBuf>,
    /// The GGUF file, if it is to go with the model.
    pub _temporary: Option<TempPath>,
}

/// What holds the bytes of a model.
pub(super) enum Storage {
    Gguf(gguf::File),
    Folder {
        shards: Shards,
        packed: PackedMatrices,
        /// The files that decide what is written, beside those of the tensors.
        beside: Vec<PathBuf>,
    },
}

/// A tensor of a model.
#[derive(Clone, Debug)]
pub struct SourceTensor {
    /// GGUF name.
    pub name: String,
    /// Extents, innermost (columns) first.
    pub shape: Vec<u64>,
    /// Type of the stored elements, or the one that they are dequantized to.
    pub dtype: Dtype,
    /// Whether the source is a GGUF file that has this tensor as F32 and most of its other weights in fewer bits.
    pub left_precise: bool,
    /// Where the elements are.
    pub(super) data: Data,
    /// What happens to them.
    pub(super) transform: Transform,
    /// What the elements of each row are multiplied with, if a conversion scales them.
    pub(super) factors: Option<Arc<[f32]>>,
}

/// Where the elements of a tensor are.
#[derive(Clone, Debug)]
pub(super) enum Data {
    /// Index in the GGUF file.
    Gguf(usize),
    /// Names in the shards, of equal shapes; more than one are stacked.
    Stored(Vec<String>),
    Computed(Vec<f32>),
}

impl SourceTensor {
    /// Elements that stay together: those of a row, or one of a vector whose elements are reordered.
    pub fn columns(&self) -> usize {
        match self.shape[..] {
            [] => 1,
            _ if self.transform.by_element => 1,
            [columns, ..] => columns as usize,
        }
    }

    /// Number of rows of [`SourceTensor::columns`].
    pub fn rows(&self) -> usize {
        self.elements() as usize / self.columns().max(1)
    }

    /// The same tensor with the elements of each row multiplied by these factors, one for each column.
    ///
    /// # Panics
    /// If there are not as many factors as columns.
    pub fn scaled(&self, factors: Arc<[f32]>) -> SourceTensor {
        assert_eq!(factors.len(), self.columns());
        SourceTensor { factors: Some(factors), ..self.clone() }
    }

    /// The factors of [`SourceTensor::scaled`].
    pub fn factors(&self) -> Option<&[f32]> {
        self.factors.as_deref()
    }

    /// Its name in the checkpoint.
    pub(super) fn source_name(&self) -> &str {
        match &self.data {
            Data::Stored(names) => &names[0],
            _ => &self.name,
        }
    }

    /// Number of stored tensors that it is made of.
    fn parts(&self) -> usize {
        match &self.data {
            Data::Stored(names) => names.len(),
            _ => 1,
        }
    }

    /// The part that holds row `row`, and its row there.
    fn stored_row(&self, row: usize) -> (usize, usize) {
        let row = self.transform.order.stored_row(row);
        match self.parts() {
            1 => (0, row),
            parts => (row / (self.rows() / parts), row % (self.rows() / parts)),
        }
    }

    /// Number of elements.
    pub fn elements(&self) -> u64 {
        self.shape.iter().product()
    }
}

impl Model {
    /// The value of a key.
    pub fn key(&self, name: &str) -> Option<&Value> {
        self.keys.iter().find(|(k, _)| k == name).map(|(_, v)| v)
    }

    /// Number of blocks.
    pub fn block_count(&self) -> u64 {
        names::block_count(self.tensors.iter().map(|t| &t.name[..]))
    }

    /// Whether any tensor is quantized.
    pub fn is_quantized(&self) -> bool {
        self.tensors.iter().any(|t| self.quantization(t).is_some())
    }

    /// The bytes of part `part` of a tensor of this model that is not computed.
    fn part(&self, t: &SourceTensor, part: usize) -> Result<&[u8], Error> {
        match (&t.data, &self.storage) {
            (Data::Gguf(i), Storage::Gguf(file)) => Ok(file.data(&file.tensors()[*i])?),
            (Data::Stored(names), Storage::Folder { shards, .. }) => {
                Ok(shards.files.bytes(shards.tensors[&names[part]].span))
            }
            _ => unreachable!("a tensor of another model"),
        }
    }

    /// What holds part `part` of a tensor, if it is quantized.
    fn packed(&self, t: &SourceTensor, part: usize) -> Option<(&Files, &dyn Packed)> {
        match (&t.data, &self.storage) {
            (Data::Stored(names), Storage::Folder { shards, packed, .. }) => {
                Some((&shards.files, &**packed.get(&names[part])?))
            }
            _ => None,
        }
    }

    /// A tensor of a GGUF file that is not floats, and the file.
    fn blocks(&self, t: &SourceTensor) -> Option<(&gguf::File, &gguf::Tensor)> {
        let (Data::Gguf(i), Storage::Gguf(file)) = (&t.data, &self.storage) else { return None };
        let tensor = &file.tensors()[*i];
        Dtype::from_ggml(tensor.kind).is_none().then_some((file, tensor))
    }

    /// Bytes of rows `first..` of such a tensor, as they are stored.
    fn block_rows<'a>(
        (file, tensor): (&'a gguf::File, &gguf::Tensor),
        first: usize,
        rows: usize,
    ) -> Result<&'a [u8], Error> {
        let row_bytes = tensor.kind.bytes(tensor.columns()).expect("whole blocks") as usize;
        Ok(&file.data(tensor)?[first * row_bytes..][..rows * row_bytes])
    }

    /// How a tensor is quantized, for people, if it is.
    pub fn quantization(&self, t: &SourceTensor) -> Option<String> {
        if let Some((_, tensor)) = self.blocks(t) {
            return (!tensor.kind.is_plain_number()).then(|| tensor.kind.name());
        }
        self.packed(t, 0).map(|(_, packed)| packed.describe())
    }

    /// Whether a tensor may get a type of few bits: see [`names::is_quantizable`].
    pub fn is_quantizable(&self, t: &SourceTensor) -> bool {
        match self.quantization(t) {
            Some(_) => names::is_quantizable_again(&t.name, &t.shape),
            None => names::is_quantizable(&t.name, &t.shape),
        }
    }

    /// The type that holds a tensor without loss that is not floats.
    pub fn exact_type(&self, t: &SourceTensor) -> Option<GgmlType> {
        if let Some((_, tensor)) = self.blocks(t) {
            return Some(tensor.kind);
        }
        let exact = |part| self.packed(t, part).and_then(|(files, packed)| packed.exact_type(files));
        let keeps_rows = t.transform.change == Change::None
            && t.transform.columns == Order::Stored
            && !matches!(t.transform.order, Order::Columns(_) | Order::Padded(_));
        let first = exact(0).filter(|_| keeps_rows)?;
        let same = (1..t.parts()).all(|part| exact(part) == Some(first));
        same.then_some(first)
    }

    /// Reads row `row` of a tensor as blocks of its [`Model::exact_type`].
    pub fn read_blocks(&self, t: &SourceTensor, row: usize, out: &mut [u8]) -> Result<(), Error> {
        if let Some(blocks) = self.blocks(t) {
            out.copy_from_slice(Self::block_rows(blocks, row, 1)?);
            return Ok(());
        }
        let (part, row) = t.stored_row(row);
        let (files, packed) = self.packed(t, part).expect("a quantized tensor");
        packed.read_blocks(files, row, out);
        Ok(())
    }

    /// Reads rows `first..` of a tensor, as many as fill `out`, as f32.
    pub fn read_rows(&self, t: &SourceTensor, first: usize, out: &mut [f32]) -> Result<(), Error> {
        self.read_unscaled(t, first, out)?;
        if let Some(factors) = &t.factors {
            for row in out.chunks_exact_mut(factors.len()) {
                row.iter_mut().zip(&**factors).for_each(|(x, factor)| *x *= factor);
            }
        }
        Ok(())
    }

    /// Reads rows `first..` of a tensor without its factors.
    fn read_unscaled(&self, t: &SourceTensor, first: usize, out: &mut [f32]) -> Result<(), Error> {
        let (columns, bytes) = (t.columns(), t.dtype.bytes());
        if let Some(blocks) = self.blocks(t) {
            let (file, tensor) = blocks;
            let dequantize = tensor.kind.dequantizer().ok_or_else(|| {
                let what = format!("has numbers in {}, which no weights are", tensor.kind.name());
                Error::tensor(file.path(), &t.name, what)
            })?;
            dequantize(Self::block_rows(blocks, first, out.len() / columns)?, out);
            return Ok(());
        }
        if let Order::Columns(places) = t.transform.order {
            return self.read_columns(t, places, first, out);
        }
        let mut stored = vec![0.0; if t.transform.columns == Order::Stored { 0 } else { columns }];
        for (i, out) in out.chunks_exact_mut(columns).enumerate() {
            let (part_number, row) = t.stored_row(first + i);
            if matches!(t.transform.order, Order::Padded(stored) if row >= stored) {
                out.fill(0.0);
                continue;
            }
            if let Data::Computed(v) = &t.data {
                out.copy_from_slice(&v[row * columns..][..columns]);
                continue;
            }
            if let Some((files, packed)) = self.packed(t, part_number) {
                packed.read_row(files, row, out);
            } else {
                let part = self.part(t, part_number)?;
                t.dtype.widen(&part[row * columns * bytes..][..columns * bytes], out);
            }
            if t.transform.columns != Order::Stored {
                stored.copy_from_slice(out);
                for (column, x) in out.iter_mut().enumerate() {
                    *x = stored[t.transform.columns.stored_row(column)];
                }
            }
            if t.transform.change != Change::None {
                out.iter_mut().for_each(|x| *x = t.transform.change.apply(*x, t.dtype == Dtype::F16));
            }
        }
        Ok(())
    }

    /// Reads columns of stored matrices as rows `first..`, as many as fill `out`.
    fn read_columns(
        &self,
        t: &SourceTensor,
        places: Columns,
        first: usize,
        out: &mut [f32],
    ) -> Result<(), Error> {
        let (rows, bytes, total) = (t.columns(), t.dtype.bytes(), out.len() / t.columns().max(1));
        let packed = self.packed(t, 0);
        let mut values = Vec::new();
        let mut done = 0;
        while done < total {
            // Columns of one matrix, so that each of its rows is read once.
            let (row, column) = places.place(first + done);
            let run = (places.taken - (first + done) % places.taken).min(total - done);
            let span = (run - 1) * places.step + 1;
            for r in 0..rows {
                let read = match packed {
                    Some((files, packed)) => {
                        values.resize(places.stored, 0.0);
                        packed.read_row(files, row + r, &mut values);
                        &values[column..][..span]
                    }
                    None => {
                        values.resize(span, 0.0);
                        let at = ((row + r) * places.stored + column) * bytes;
                        t.dtype.widen(&self.part(t, 0)?[at..][..span * bytes], &mut values);
                        &values[..]
                    }
                };
                let taken = read.iter().step_by(places.step);
                taken.zip(done..).for_each(|(value, i)| out[i * rows + r] = *value);
            }
            done += run;
        }
        Ok(())
    }

    /// Whether llama.cpp's converter made the GGUF file of a folder that this is.
    pub fn is_converted(&self) -> bool {
        self.converted.is_some()
    }

    /// The GGUF file that holds the tensors, if one does.
    pub fn gguf(&self) -> Option<&Path> {
        match &self.storage {
            Storage::Gguf(file) => Some(file.path()),
            Storage::Folder { .. } => None,
        }
    }

    /// The files that it was made from.
    pub fn files(&self) -> Vec<PathBuf> {
        if let Some(converted) = &self.converted {
            return converted.files.clone();
        }
        match &self.storage {
            Storage::Gguf(file) => file.paths().to_vec(),
            Storage::Folder { shards, beside, .. } => [shards.files.paths(), beside].concat(),
        }
    }

    /// The file that holds row `row` of a tensor.
    pub fn file_of(&self, t: &SourceTensor, row: usize) -> &Path {
        match (&t.data, &self.storage) {
            // Which of the files of the folder it was made of, nobody knows.
            (Data::Gguf(_), Storage::Gguf(_)) if self.converted.is_some() => &self.path,
            (Data::Gguf(i), Storage::Gguf(file)) => file.path_of(&file.tensors()[*i]),
            (Data::Stored(names), Storage::Folder { shards, .. }) => {
                &shards.tensors[&names[t.stored_row(row).0]].path
            }
            _ => &self.path,
        }
    }

    /// Fails if a file was changed or cut short since the model was opened: what was made of it is of no use.
    pub fn check_unchanged(&self) -> Result<(), Changed> {
        self.maps().iter().try_for_each(Map::check)?;
        self.read.iter().try_for_each(|(path, stamp)| stamp.check(path))
    }

    /// Fails if bytes that were asked for are gone. It costs nothing.
    pub fn check_cut(&self) -> Result<(), Changed> {
        self.maps().iter().try_for_each(Map::check_cut)
    }

    /// Lets go of the memory of what has been read. Pages of mapped files count as a program's memory until then.
    pub fn release(&self) {
        self.maps().iter().for_each(mapped::release);
    }

    /// Has the system read bytes of [`Model::stored_rows`], in one go and before they are needed.
    pub fn prefetch(&self, bytes: &[u8]) {
        self.maps().iter().for_each(|map| mapped::prefetch(map, bytes));
    }

    fn maps(&self) -> &[Map] {
        match &self.storage {
            Storage::Gguf(file) => file.maps(),
            Storage::Folder { shards, .. } => shards.files.maps(),
        }
    }

    /// The bytes of some rows of a tensor, if they are stored one after the other and nothing happens to them.
    pub fn stored_rows(&self, t: &SourceTensor, rows: Range<usize>) -> Result<Option<&[u8]>, Error> {
        let is_floats =
            !matches!(t.data, Data::Computed(_)) && self.blocks(t).is_none() && t.factors.is_none();
        if !is_floats || t.transform != Transform::NONE || rows.is_empty() {
            return Ok(None);
        }
        let ((part, first), (last_part, last)) = (t.stored_row(rows.start), t.stored_row(rows.end - 1));
        if part != last_part || self.packed(t, part).is_some() {
            return Ok(None);
        }
        let row_bytes = t.columns() * t.dtype.bytes();
        Ok(Some(&self.part(t, part)?[first * row_bytes..(last + 1) * row_bytes]))
    }
}
