//! The published files: names, sizes, headers, checksums and download addresses.

/// One published file; size and checksum refer to the uncompressed content (mirrors compress differently).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileSpec<'a> {
    /// Its name, without `.gz`.
    pub name: &'a str,
    /// The big-endian words it starts with: IDX magic number, item count, and for images rows and columns.
    pub header: &'a [u32],
    /// Its size in bytes, header included.
    pub bytes: u64,
    /// SHA-256, in lower-case hexadecimal.
    pub sha256: &'a str,
}

/// The files of one data set and the servers that provide them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Manifest<'a> {
    /// The name for `--dataset` and `data fetch`, and of its subfolder.
    pub name: &'a str,
    /// The title, as shown to the user.
    pub title: &'a str,
    /// Training images, training labels, test images, test labels.
    pub files: &'a [FileSpec<'a>],
    /// Base addresses in order of preference; each file is at `<mirror>/<name>.gz`.
    pub mirrors: &'a [&'a str],
    /// The name of each class.
    pub class_names: &'a [&'a str],
}

/// The IDX magic number of unsigned bytes in three dimensions: images.
pub const IMAGES: u32 = 0x803;
/// The IDX magic number of unsigned bytes in one dimension: labels.
pub const LABELS: u32 = 0x801;
/// Rows and columns of an image.
pub const SIDE: usize = 28;
/// Images in the training file.
pub const TRAIN: usize = 60_000;
/// Images in the test file.
pub const TEST: usize = 10_000;

/// MNIST, by Y. LeCun, C. Cortes and C. Burges.
pub const MNIST: Manifest<'static> = Manifest {
    name: "mnist",
    title: "MNIST",
    files: &files([
        "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    ]),
    mirrors: &["https://ossci-datasets.s3.amazonaws.com/mnist", "https://storage.googleapis.com/cvdf-datasets/mnist"],
    class_names: &["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"],
};

/// Fashion-MNIST, by Zalando SE (MIT licence).
pub const FASHION: Manifest<'static> = Manifest {
    name: "fashion",
    title: "Fashion-MNIST",
    files: &files([
        "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
        "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
        "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
        "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
    ]),
    mirrors: &[
        "https://fashion-mnist.s3.eu-central-1.amazonaws.com",
        "https://storage.googleapis.com/tensorflow/tf-keras-datasets",
        // The address published by the authors does not support https. The checksums are pinned, so this is safe.
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com",
    ],
    class_names: &[
        "T-shirt/top",
        "Trouser",
        "Pullover",
        "Dress",
        "Coat",
        "Sandal",
        "Shirt",
        "Sneaker",
        "Bag",
        "Ankle boot",
    ],
};

/// All data sets that are read from files.
pub const ALL: [Manifest<'static>; 2] = [MNIST, FASHION];

/// Both sets have files of the same names, sizes and headers.
const fn files(sha256: [&'static str; 4]) -> [FileSpec<'static>; 4] {
    const IMAGE_BYTES: u64 = (SIDE * SIDE) as u64;
    [
        FileSpec {
            name: "train-images-idx3-ubyte",
            header: &[IMAGES, TRAIN as u32, SIDE as u32, SIDE as u32],
            bytes: 16 + TRAIN as u64 * IMAGE_BYTES,
            sha256: sha256[0],
        },
        FileSpec {
            name: "train-labels-idx1-ubyte",
            header: &[LABELS, TRAIN as u32],
            bytes: 8 + TRAIN as u64,
            sha256: sha256[1],
        },
        FileSpec {
            name: "t10k-images-idx3-ubyte",
            header: &[IMAGES, TEST as u32, SIDE as u32, SIDE as u32],
            bytes: 16 + TEST as u64 * IMAGE_BYTES,
            sha256: sha256[2],
        },
        FileSpec {
            name: "t10k-labels-idx1-ubyte",
            header: &[LABELS, TEST as u32],
            bytes: 8 + TEST as u64,
            sha256: sha256[3],
        },
    ]
}

/// The title of the data set with a file of this checksum, so that an error can name it.
pub(super) fn owner_of(sha256: &str) -> Option<&'static str> {
    ALL.iter().find(|manifest| manifest.files.iter().any(|file| file.sha256 == sha256)).map(|manifest| manifest.title)
}
