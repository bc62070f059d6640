// What ggml-vulkan.cpp uses of Vulkan's headers and those of Debian 12 (1.3.239) lack: settings of the validation layer. The names
// are here with nothing behind them, so that the file compiles; a build with GGML_VULKAN_VALIDATE needs newer headers.
#pragma once

#include "ggml-vulkan-common.h"

#ifndef VK_EXT_layer_settings
namespace vk {
enum class LayerSettingTypeEXT { eBool32 };

struct LayerSettingEXT {
    const char *        layer;
    const char *        setting;
    LayerSettingTypeEXT type;
    uint32_t            count;
    const void *        values;
};

// A link of the instance's chain that says nothing.
struct LayerSettingsCreateInfoEXT : ValidationFeaturesEXT {
    explicit LayerSettingsCreateInfoEXT(const std::vector<LayerSettingEXT> &) {}
};
} // namespace vk
#endif
