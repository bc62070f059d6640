//! Values of config.json that change nothing of what a model computes of tokens, in any architecture.

/// Values that are read elsewhere: which model it is, tokens, and how weights are stored.
const ELSEWHERE: &[&str] = &[
    "architectures",
    "model_type",
    "text_config",
    "vocab_size",
    "tie_word_embeddings",
    "hidden_size",
    "quantization_config",
    "compression_config",
    "bos_token_id",
    "eos_token_id",
    "pad_token_id",
    "unk_token_id",
    "sep_token_id",
    "cls_token_id",
    "mask_token_id",
];

/// The program that wrote it, and the type of the weights, which the files say themselves.
const ORIGIN: &[&str] = &[
    "_name_or_path",
    "name_or_path",
    "_commit_hash",
    "auto_map",
    "transformers_version",
    "torch_dtype",
    "dtype",
    "tokenizer_class",
    "language",
    "license",
    "transformers.js_config",
    "unsloth_version",
    "unsloth_fixed",
    "unsloth_training_args",
    "model_max_length",
    "max_sequence_length",
    "max_seq_len",
    "seq_length",
];

/// Training: dropout, losses, initial values.
const TRAINING: &[&str] = &[
    "attention_dropout",
    "attn_pdrop",
    "resid_pdrop",
    "embd_pdrop",
    "hidden_dropout",
    "hidden_dropout_prob",
    "residual_dropout",
    "embedding_dropout",
    "classifier_dropout",
    "summary_first_dropout",
    "summary_last_dropout",
    "dropout",
    "initializer_range",
    "initializer_cutoff_factor",
    "init_method_std",
    "output_router_logits",
    "router_aux_loss_coef",
    "router_jitter_noise",
    "aux_loss_alpha",
    "seq_aux",
    "gradient_checkpointing",
    "neftune_noise_alpha",
    "pretraining_tp",
    "label_smoothing",
    "problem_type",
    "finetuning_task",
];

/// How programs compute the same: caches, kernels, what they return.
const MEANS: &[&str] = &[
    "use_cache",
    "cache_implementation",
    "_attn_implementation",
    "attn_implementation",
    "_attn_implementation_autoset",
    "_experts_implementation",
    "_flash_attn_2_enabled",
    "use_flash_attn",
    "use_flash_attention",
    "use_flash_attention_2",
    "flash_attn",
    "reorder_and_upcast_attn",
    "chunk_size_feed_forward",
    "low_cpu_mem_usage",
    "ep_size",
    "mamba_chunk_size",
    "for_llm_compressor",
    "output_attentions",
    "_output_attentions",
    "output_hidden_states",
    "return_dict",
    "return_dict_in_generate",
    "use_return_dict",
    "torchscript",
    "use_bfloat16",
    "tf_legacy_loss",
    "is_decoder",
    "is_encoder_decoder",
    "tie_encoder_decoder",
    "tie_last_hidden_states",
    // The same as `sliding_window` in files of Gemma 2.
    "sliding_window_size",
];

/// Heads of other tasks.
const TASKS: &[&str] = &[
    "id2label",
    "label2id",
    "num_labels",
    "summary_type",
    "summary_use_proj",
    "summary_activation",
    "summary_proj_to_labels",
    "task_specific_params",
    "prefix",
];

/// Settings of generation, which transformers 4 kept here.
const GENERATION: &[&str] = &[
    "temperature",
    "top_k",
    "top_p",
    "typical_p",
    "repetition_penalty",
    "diversity_penalty",
    "length_penalty",
    "num_beams",
    "num_beam_groups",
    "num_return_sequences",
    "no_repeat_ngram_size",
    "encoder_no_repeat_ngram_size",
    "bad_words_ids",
    "suppress_tokens",
    "begin_suppress_tokens",
    "forced_bos_token_id",
    "forced_eos_token_id",
    "decoder_start_token_id",
    "exponential_decay_length_penalty",
    "remove_invalid_values",
    "output_scores",
    "early_stopping",
    "do_sample",
    "max_length",
    "max_new_tokens",
    "min_length",
];

/// Parts of the model that see or hear, and the marks of their places among the tokens.
const SENSES: &[&str] = &[
    "vision_config",
    "audio_config",
    "mm_tokens_per_image",
    "boi_token_index",
    "eoi_token_index",
    "image_token_index",
    "boi_token_id",
    "eoi_token_id",
    "image_token_id",
    "video_token_id",
    "boa_token_id",
    "eoa_token_id",
    "eoa_token_index",
    "audio_token_id",
    "audio_soft_tokens_per_image",
    "vision_soft_tokens_per_image",
    "vision_start_token_id",
    "vision_end_token_id",
];

/// Whether a value changes nothing.
pub fn is_harmless(name: &str) -> bool {
    [ELSEWHERE, ORIGIN, TRAINING, MEANS, TASKS, GENERATION, SENSES].iter().any(|list| list.contains(&name))
}
