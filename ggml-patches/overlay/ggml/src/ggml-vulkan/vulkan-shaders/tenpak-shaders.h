// What vulkan-shaders-gen compiles for the tensor types of tenpak-gguf: a part of process_shaders().
#include "tenpak-tables.glsl"
{
    const auto compile = [](const std::string & type, const std::string & name, const std::string & source,
                            const std::map<std::string, std::string> & defines) {
        string_to_spv(name, source, merge_maps({ { type, "1" }, { "A_TYPE", "uint8_t" }, { "FLOAT_TYPE", "float" }, { "USE_SUBGROUP_ADD", "1" } }, defines));
    };
#define TENPAK_SHADERS(NAME, name, ...)                                                                                             \
    compile("TENPAK_" #NAME, "tenpak_dequant_" #name, "tenpak_dequant.comp", { { "D_TYPE", "float16_t" } });                        \
    compile("TENPAK_" #NAME, "tenpak_get_rows_" #name, "tenpak_get_rows.comp", { { "B_TYPE", "int" }, { "D_TYPE", "float" } });     \
    compile("TENPAK_" #NAME, "tenpak_mul_mat_vec_" #name, "tenpak_mul_mat_vec.comp", { { "B_TYPE", "float" }, { "D_TYPE", "float" } }); \
    compile("TENPAK_" #NAME, "tenpak_mul_mat_vec_id_" #name, "tenpak_mul_mat_vec.comp",                                             \
            { { "B_TYPE", "float" }, { "D_TYPE", "float" }, { "MUL_MAT_ID", "1" } });
    TENPAK_FOR_EACH_SHADER_TYPE(TENPAK_SHADERS)
#undef TENPAK_SHADERS
}
