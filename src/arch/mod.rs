//! Model architectures: tensor names and hyper-parameters in Hugging Face's words and in GGUF's.

pub mod llama;
pub mod tokenizer;
