"""What is published of the messages, made from the code that reads them: their JSON Schemas, and who may send them."""
