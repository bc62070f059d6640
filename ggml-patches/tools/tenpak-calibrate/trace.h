// What `tenpak-gguf convert --verify` compares with the folder that a model was made of.
//
//   --tokenize    ids of texts by the vocabulary of the file
//   --trace       what the file's graph computes of ids, without the roundings that a processor's products bring: weights of
//                 16 bits are widened and multiplied in F32, keys and values stay F32, and all is done by the processor
//
// A trace is a GGUF file of F32 tensors with a column for each id: `embeddings`, what goes into the first block;
// `block.N`, what comes out of block N, if the graph names it; `logits`.

#pragma once

#include "common.h"

#include <string>

// params: the model, and the file to write as out_file; texts: a file with texts, each ended by a zero byte
void write_ids(const common_params & params, const std::string & texts);

// ids: a file with numbers between spaces or lines
void write_trace(common_params params, const std::string & ids);
