"""The descriptor pool of the generated modules.

Apart from protobuf's default one, where an application may have its own copies of the same messages.
"""

from google.protobuf.descriptor_pool import DescriptorPool

POOL = DescriptorPool()
