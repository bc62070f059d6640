//! What a model of a known architecture may lack or have too much of.

/// Why config.json or the keys of a GGUF file cannot be read as those of an architecture.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Error {
    /// A value of config.json is missing; its names.
    #[error("`{}` is not there", .0.join("` or `"))]
    Missing(Vec<String>),
    /// A value of config.json is no integer from zero on.
    #[error("`{name}` is {value}, no size")]
    NoSize {
        /// Its name.
        name: String,
        /// What it is.
        value: String,
    },
    /// A value of config.json is no number.
    #[error("`{name}` is {value}, no number")]
    NoNumber {
        /// Its name.
        name: String,
        /// What it is.
        value: String,
    },
    /// A size in config.json is larger than those of all models.
    #[error("`{name}` is {value}, more than any model has")]
    TooLarge {
        /// Its name.
        name: String,
        /// What it is.
        value: u64,
    },
    /// A value of config.json that no key of a file says is not what llama.cpp computes.
    #[error(
        "`{name}` is {value}, but llama.cpp's {architecture} {does}, and no GGUF file can tell it otherwise: this model \
         cannot be converted"
    )]
    Differs {
        /// Its name.
        name: String,
        /// What it is, as JSON.
        value: String,
        /// The architecture in GGUF.
        architecture: &'static str,
        /// What llama.cpp does.
        does: String,
    },
    /// Numbers of heads, or their size, are zero or odd.
    #[error("attention cannot have the shape {0}")]
    Attention(String),
    /// A list of the kinds of layers in config.json is of other kinds, or of another length.
    #[error("`layer_types` is {value}, where {kinds} are expected")]
    Layers {
        /// What it is, as JSON.
        value: String,
        /// What layers may be.
        kinds: &'static str,
    },
    /// A list of factors in config.json is missing or of another length.
    #[error("rope scaling `longrope`: `{name}` is not {pairs} numbers")]
    Factors {
        /// Its name.
        name: &'static str,
        /// How long it should be.
        pairs: usize,
    },
    /// `rope_parameters` or `rope_scaling` is no object, or has something in place of one.
    #[error(
        "`{name}` has {value} where rotary embeddings are described; expected an object such as \
             {{\"rope_type\": \"linear\", \"factor\": 4.0}}"
    )]
    NoScaling {
        /// Its name.
        name: String,
        /// What is there.
        value: String,
    },
    /// Both forms of the same contradict each other.
    #[error(
        "`{name}` is one value in `rope_parameters` and another in `rope_scaling`: leave the right one alone there"
    )]
    TwoScalings {
        /// The value.
        name: String,
    },
    /// Layers with a window have rotary embeddings of their own.
    #[error(
        "`rope_parameters` has one scaling for `full_attention` and another for `sliding_attention`: llama.cpp computes \
         a base alone for layers with a window, and that for Gemma 3, 3n and 4 only"
    )]
    RopeOfLayers,
    /// GPT-NeoX has two names for the base of the frequencies.
    #[error("`rope_theta` and `rotary_emb_base` are one value and differ: leave the right one alone there")]
    TwoBases,
    /// Layers with a window may have a base of their own, and nothing says which is whose.
    #[error(
        "`rope_parameters` has neither `full_attention` nor `sliding_attention`, by which this architecture has them"
    )]
    RopeWithoutLayers,
    /// A scaling of rotary positions that llama.cpp's graph of the architecture does not compute.
    #[error(
        "rope scaling `{scaling}` is none that llama.cpp's {architecture} computes, and no GGUF file can tell it otherwise: \
         this model cannot be converted"
    )]
    Scaling {
        /// The scaling.
        scaling: String,
        /// The architecture in GGUF.
        architecture: &'static str,
    },
    /// A scaling of rotary positions lacks a parameter.
    #[error("rope scaling `{scaling}` has no `{parameter}`")]
    ScalingLacks {
        /// The scaling.
        scaling: String,
        /// What it lacks.
        parameter: &'static str,
    },
    /// A scaling in a GGUF file that config.json has no word for.
    #[error("rope scaling `{0}` cannot be said in config.json")]
    ScalingNotSaid(String),
    /// Factors in a GGUF file that come from no known parameters.
    #[error("tensor `{0}` holds factors that no llama3 scaling with the usual thresholds has")]
    UnknownFactors(&'static str),
    /// A key of a GGUF file is missing.
    #[error("key `{0}` is not there")]
    MissingKey(String),
    /// A key of a GGUF file is of another kind.
    #[error("key `{key}` is no {kind}")]
    OtherKind {
        /// The key.
        key: String,
        /// What it should be.
        kind: &'static str,
    },
}
