# An adapter: CMakeLists.txt is the build. node-gyp and prebuildify look for this file; it hands the work on.
{
  'targets': [
    {
      'target_name': 'cmake_build',
      'type': 'none',
      'actions': [
        {
          'action_name': 'cmake',
          'message': 'Building the addon with CMake',
          'inputs': ['CMakeLists.txt', 'scripts/build-native.cjs'],
          'outputs': ['<(PRODUCT_DIR)/cmake_build.always'],
          'action': ['node', 'scripts/build-native.cjs', '--config', '<(CONFIGURATION_NAME)']
        }
      ]
    }
  ]
}
